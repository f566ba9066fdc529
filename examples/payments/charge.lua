-- charge.lua: the process that makes invoices and charges of orders
--
--   lua5.4 charge.lua SERVERS ORDERS INVOICES CHARGES DELIVERY
--
-- SERVERS are brokers; then the names of three topics, and the option
-- 'delivery'. It runs until SIGTERM comes, or SIGKILL.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. package.path

local strand = require "strand"

local servers, orders, invoices, charges, delivery = (table.unpack or unpack)(arg)
local exactly_once = delivery == "exactly_once"

local consumer = assert(strand.consumer {
  kafka = {
    ["bootstrap.servers"] = servers,
    ["group.id"] = orders .. "-charge",
    ["session.timeout.ms"] = 6000,   -- how long a killed process keeps its partitions
  },
  topics = { orders },
  delivery = delivery,
  -- the same at each start: what a killed process has left open ends at once
  transactional_id = exactly_once and orders .. "-charge-1" or nil,
  transaction_records = exactly_once and 100 or nil, -- small: many moments for a kill
  producer = {},                     -- context:produce, on the same brokers
  workers = 8,
  commit_interval = not exactly_once and 1 or nil, -- transactions have their own
  handler = "invoice",
  handler_args = { invoices = invoices, charges = charges },
  retry = { delay = 0.05 },
  on_event = function() end,         -- failures are part of the story, not warnings here
})
assert(consumer:run())
