-- poison.lua: what keys that fail for ever leave to the others
--
--   poison.lua BROKERS TOPIC RECORDS at_once|slowly [one]
--
-- Poison is tried again each second and never given up. Prints "records N" (of
-- healthy keys, as asked), "seconds S" from the first of them to the last, and
-- "failed F", attempts. With "one", poison is in partition 0, whose commit may
-- say less: it is full on the way, and then it must be blocked, by a poison
-- record that the event names. No other partition ever is.

local strand = require "strand"
local core = require "strand.core"
local probe = require "probe"

local brokers, topic, records = arg[1], arg[2], tonumber(arg[3])
local slowly, one = arg[4] == "slowly", arg[5] == "one"
local PATIENCE = 300

local blocked = {}
local function on_event(event)
  if event.type == "partition_blocked" then blocked[#blocked + 1] = event end
end

local consumer = assert(strand.consumer {
  kafka = {
    ["bootstrap.servers"] = brokers,
    ["group.id"] = ("poison-%.0f"):format(core.now() * 1e6),
  },
  topics = { topic }, handler = "poison", handler_args = { slowly = slowly },
  workers = 16, retry = { attempts = 65535, delay = 1, factor = 1, jitter = 0 },
  max_metadata = one and 512 or nil, on_event = on_event,
})

local function check_blocked()
  for _, event in ipairs(blocked) do
    assert(one and event.partition == 0, "a healthy partition was blocked")
    assert(event.reason == "metadata" and event.key:match "^poison%-" and event.offset,
      "the event does not name what blocks")
  end
  assert(not one or #blocked > 0, "nothing was blocked")
end

probe.expect(records)
assert(consumer:start())
local deadline = core.now() + PATIENCE
repeat
  consumer:step(0.05)
  assert(core.now() < deadline, "healthy records do not come")
until probe.took()
local failed = consumer:stats().failed
check_blocked()
assert(consumer:close())
print(("records %d\nseconds %.6f\nfailed %d"):format(records, probe.took(), failed))
