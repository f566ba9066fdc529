-- fill.lua: makes a topic and fills it through strand's producer
--
--   fill.lua BROKERS TOPIC RECORDS [KEYS = 10000] [PARTITIONS = 8] [BYTES = 100] [POISON]
--
-- Values are random bytes: nothing in between can make them smaller. Keys come
-- in turns; with POISON at random, and the last tenth of them is named
-- poison-N: POISON is "spread" over all partitions, all in "one" (number 0), or
-- there is "none" of it, and no record of that tenth.

local strand = require "strand"

local brokers, topic, records = arg[1], arg[2], tonumber(arg[3])
local keys = tonumber(arg[4] or 10000)
local partitions = tonumber(arg[5] or 8)
local bytes = tonumber(arg[6] or 100)
local poison = arg[7]
local healthy = keys * 0.9

local kafka = { ["bootstrap.servers"] = brokers }
local admin = assert(strand.admin { kafka = kafka })
assert(admin:create_topics { [topic] = partitions })
admin:close()

local POOL = 1024 * 1024
local urandom = assert(io.open("/dev/urandom", "rb"))
local pool = urandom:read(POOL)
urandom:close()

local function value()
  local at = math.random(POOL - bytes)
  return pool:sub(at, at + bytes - 1)
end

local producer = assert(strand.producer { kafka = kafka, topics = { topic } })

local function send(record)
  while true do
    local ok, message, code = producer:send(record)
    if ok then return end
    if code == "QUEUE_FULL" or code == "NO_METADATA" then
      producer:poll(0.05)
    else
      error(message)
    end
  end
end

local function poisoned()
  local number = math.random(poison == "none" and healthy or keys)
  if number <= healthy then return ("key-%d"):format(number) end
  return ("poison-%d"):format(number), poison == "one" and 0 or nil
end

for i = 1, records do
  local key, partition
  if poison then key, partition = poisoned() else key = ("key-%d"):format(i % keys) end
  send { topic = topic, key = key, value = value(), partition = partition }
  if i % 10000 == 0 then producer:poll(0) end
end
assert(producer:flush(120))
local report = producer:close()
assert(report.delivered == records, "not everything was delivered")
