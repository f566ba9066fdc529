-- audit.lua: what is in a topic, against the orders
--
-- Reads all that a reader of committed records sees, and counts:
--
--   missing       orders of which there is nothing
--   repeated      records of an order beyond the first
--   wrong         records of another amount than the order's, its tax included
--   out of order  first records of an order after a later one of its customer

local json = require "cjson"

local audit = {}

local PAGE = 10000
local VAT = { DE = 19, FR = 20, NL = 21 } -- percent: the auditor has a table of his own

-- Calls take(record) for each record of the topic, by partition in its order.
local function each_record(admin, topic, take)
  local known = assert(admin:describe { topics = { topic } })
  for _, partition in ipairs(known.topics[topic].partitions) do
    local offset = 0
    repeat
      local records, ended = admin:read { topic = topic, partition = partition.partition,
        offset = offset, records = PAGE }
      assert(records, ended)
      for _, record in ipairs(records) do take(record) end
      if #records > 0 then offset = records[#records].offset + 1 end
    until ended == "end"
  end
end

-- One Lua reads 1 out of JSON, another 1.0.
local function name(customer, number)
  return ("%s/%d"):format(customer, number)
end

local function owed(order)
  return order.cents + math.floor(order.cents * VAT[order.country] / 100 + 0.5)
end

local function check(result, seen, last, order, record, cents)
  local id = name(record.key, order.number)
  result.cents = result.cents + cents
  if seen[id] then
    result.repeated = result.repeated + 1
    return
  end
  seen[id] = true
  if cents ~= owed(order) then result.wrong = result.wrong + 1 end
  if order.number < (last[record.key] or 0) then
    result.out_of_order = result.out_of_order + 1
  end
  last[record.key] = order.number
end

--- The topic's records against the orders (orders.lua). -> the counts above,
--- and the sum of cents in the topic
function audit.read(admin, topic, orders)
  local result = { missing = 0, repeated = 0, wrong = 0, out_of_order = 0, cents = 0 }
  local known, seen, last = {}, {}, {}
  for _, order in ipairs(orders) do known[name(order.customer, order.number)] = order end
  each_record(admin, topic, function(record)
    local value = json.decode(record.value)
    local order = assert(known[name(record.key, value.order)], "a charge without an order")
    check(result, seen, last, order, record, value.cents)
  end)
  for id in pairs(known) do
    if not seen[id] then result.missing = result.missing + 1 end
  end
  return result
end

--- What all orders cost.
function audit.owed(orders)
  local sum = 0
  for _, order in ipairs(orders) do sum = sum + owed(order) end
  return sum
end

return audit
