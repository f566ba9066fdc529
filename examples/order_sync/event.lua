-- event.lua: what the ERP says, read from a record
--
--   { "event": "order_creation",   "sync_id": ..., "revision": n, "customer": ..., "cents": n }
--   { "event": "order_updation",   "sync_id": ..., "revision": n, "cents": n, "status": ... }
--   { "event": "invoice_creation", "sync_id": ..., "revision": n, "number": ..., "cents": n }
--
-- What is no such event can never become one: it is malformed. Whether an
-- event makes sense is for the database to say.

local json = require "cjson"

local event = {}

-- No NUL: a C string ends there.
local function is_text(value)
  return type(value) == "string" and #value > 0 and #value <= 200 and not value:find "%c"
end

-- No fraction, and none lost; cjson reads NaN and Infinity too.
local function is_whole(value)
  return type(value) == "number" and value % 1 == 0 and math.abs(value) < 2^53
end

local shapes = {
  order_creation = { customer = is_text, cents = is_whole },
  order_updation = { cents = is_whole, status = is_text },
  invoice_creation = { number = is_text, cents = is_whole },
}

for _, shape in pairs(shapes) do
  shape.sync_id, shape.revision = is_text, is_whole
end

--- -> the event, or nil and what is wrong with it
function event.read(record)
  local read, found = pcall(json.decode, record.value or "")
  if not read then return nil, "not JSON: " .. found end
  if type(found) ~= "table" then return nil, "not an object" end
  local shape = shapes[found.event]
  if not shape then return nil, "no event that is known" end
  for name, is_right in pairs(shape) do
    if not is_right(found[name]) then return nil, found.event .. " without a proper " .. name end
  end
  if found.sync_id ~= record.key then return nil, "the key is not its sync_id" end
  return found
end

return event
