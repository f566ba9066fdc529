-- hello.lua
local strand = require "strand"
local mock = assert(strand.mock { topics = { orders = 3 } })   -- a Kafka cluster in this process
local kafka = { ["bootstrap.servers"] = mock.bootstrap_servers }
local producer = assert(strand.producer { kafka = kafka })
for n = 1, 12 do
  assert(producer:send { topic = "orders", key = "order-" .. n % 4, value = "event " .. n })
end
assert(producer:flush())
kafka["group.id"] = "hello"
local consumer = assert(strand.consumer {
  kafka = kafka, topics = { "orders" }, ordering = "key", workers = 4, handler = "show",
})
assert(consumer:run { every = 0.1, tick = function()
  if consumer:stats().done == 12 then consumer:stop() end
end })
