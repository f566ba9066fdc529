-- text.lua: what print shows of the tables that a user is given
--
--   record_failed orders/3/7 key "42" attempt 2, again in 1.5 s: boom
--   strand.Report (done 512, failed 3, parked 1, unfinished 1, 12.5 s)
--   strand.DeliveryReport (orders/3/7)
--
-- They stay plain tables in everything else: pairs, encoders and comparisons
-- see their fields alone.

local schema = require "strand.schema"

local text = {}

-- Each adds to 'out' what the table has of it.
local function add_place(out, t)
  if not t.topic then return end
  local place = t.topic
  if t.partition then place = place .. "/" .. ("%d"):format(t.partition) end
  if t.partition and t.offset then place = place .. "/" .. ("%d"):format(t.offset) end
  out[#out + 1] = " " .. place
  if t.to then out[#out + 1] = (" to %d"):format(t.to) end
end

-- A key may be any bytes.
local function quoted(key)
  return '"' .. key:gsub('[%c"\\\127-\255]', schema.escaped) .. '"'
end

local function add_attempt(out, t)
  if t.key then out[#out + 1] = " key " .. quoted(t.key) end
  if t.attempt then out[#out + 1] = (" attempt %d"):format(t.attempt) end
  if t.delay then out[#out + 1] = (", again in %.4g s"):format(t.delay) end
  if t.seconds then out[#out + 1] = (" for %.4g s"):format(t.seconds) end
end

local function event_text(t)
  local out = { t.type }
  add_place(out, t)
  add_attempt(out, t)
  if t.reason then out[#out + 1] = ": " .. t.reason end
  if t.code then out[#out + 1] = " (" .. t.code .. ")" end
  return table.concat(out)
end

local COUNTS = { "sent", "delivered", "done", "failed", "skipped", "dead_lettered", "parked",
  "purged", "lost" }
local ALWAYS = { sent = true, done = true }

-- Reports of consumers and producers: what is 0 says nothing, mostly.
local function report_text(t)
  local out = {}
  for _, name in ipairs(COUNTS) do
    local n = t[name]
    if n and (n > 0 or ALWAYS[name]) then
      out[#out + 1] = ("%s %d"):format(name:gsub("_", "-"), n)
    end
  end
  if (t.unfinished_total or 0) > 0 then
    out[#out + 1] = ("unfinished %d"):format(t.unfinished_total)
  end
  out[#out + 1] = ("%.4g s"):format(t.seconds or 0)
  if t.detached then out[#out + 1] = "detached" end
  return ("strand.Report (%s)"):format(table.concat(out, ", "))
end

local function delivery_text(t)
  local out = { "" }
  add_place(out, t)
  local place = table.concat(out):sub(2)
  if t.error then place = ("%s: %s (%s)"):format(place, t.error, t.code) end
  return ("strand.DeliveryReport (%s)"):format(place)
end

local function metatable_of(name, show)
  return { __name = name, __tostring = show }
end

-- What is no table, such as nil, message, code, is given as it is.
local function shown_by(name, show)
  local metatable = metatable_of(name, show)
  return function(t, ...)
    if type(t) == "table" then return setmetatable(t, metatable) end
    return t, ...
  end
end

text.event = shown_by("strand.Event", event_text)
text.report = shown_by("strand.Report", report_text)
text.delivery_report = metatable_of("strand.DeliveryReport", delivery_text) -- set by C

return text
