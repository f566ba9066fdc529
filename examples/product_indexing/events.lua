-- events.lua: what happened to the products of a shop, in a topic

local strand = require "strand"

local events = {}

local EVENTS_EACH = 10 -- of a product, on the average
local TYPES = { "price_changed", "stock_changed", "description_changed", "image_added" }
local SEED = 2 -- the same events each time

-- A full queue is emptied by the brokers.
local function send(producer, record)
  while true do
    local ok, message, code = producer:send(record)
    if ok then return end
    assert(code == "QUEUE_FULL" or code == "NO_METADATA", message)
    producer:poll(0.05)
  end
end

-- Sends 'count' events. -> how many each partition got: { [partition] = number }
function events.fill(servers, topic, count)
  local ends = {}
  local producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = servers },
    topics = { topic },
    on_delivery = function(report)
      assert(not report.error, report.error)
      ends[report.partition] = math.max(ends[report.partition] or 0, report.offset + 1)
    end,
  })
  math.randomseed(SEED)
  local products = math.ceil(count / EVENTS_EACH)
  for _ = 1, count do
    local product = ("product-%05d"):format(math.random(products))
    send(producer, { topic = topic, key = product,
      value = ('{"product":"%s","event":"%s"}'):format(product, TYPES[math.random(#TYPES)]) })
  end
  assert(producer:flush(60))
  assert(producer:close().delivered == count)
  return ends
end

return events
