-- fill.lua: makes a topic and fills it through strand's producer
--
--   fill.lua BROKERS TOPIC RECORDS [KEYS = 10000] [PARTITIONS = 8] [BYTES = 100]
--
-- Values are random bytes: nothing in between can make them smaller.

local strand = require "strand"

local brokers, topic, records = arg[1], arg[2], tonumber(arg[3])
local keys = tonumber(arg[4] or 10000)
local partitions = tonumber(arg[5] or 8)
local bytes = tonumber(arg[6] or 100)

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

for i = 1, records do
  send { topic = topic, key = ("key-%d"):format(i % keys), value = value() }
  if i % 10000 == 0 then producer:poll(0) end
end
assert(producer:flush(120))
local report = producer:close()
assert(report.delivered == records, "not everything was delivered")
