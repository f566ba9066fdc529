-- takeover.lua: a crash in a transaction, and who takes over with the same id
--
--   takeover.lua BROKERS TOPIC OUT ID crash      is killed, by itself
--   takeover.lua BROKERS TOPIC OUT ID            takes over
--
-- Exactly once, with one group and one place in it, which the second has at
-- once. The first dies while a transaction of it is open. The second prints
-- "takeover_s S": from the end of init_transactions, as librdkafka's log has
-- it, to the first record that was handled; and "start_s S": from the start to
-- that.

local core = require "strand.core"
local strand = require "strand"

local brokers, topic, out, id, dies = arg[1], arg[2], arg[3], arg[4], arg[5] == "crash"
local PATIENCE, STEP = 60, 0.001
-- What librdkafka says when init_transactions has worked, and when the broker has
-- a partition in the transaction.
local READY, OPEN = "-> ReadyNotAcked", "registered with transaction"

local said = {}
local function log(_, _, message)
  for _, what in ipairs { READY, OPEN } do
    if not said[what] and message:find(what, 1, true) then said[what] = core.now() end
  end
end

local consumer = assert(strand.consumer {
  kafka = { ["bootstrap.servers"] = brokers, ["group.id"] = id, ["group.instance.id"] = id },
  topics = { topic }, workers = 4, handler = "copy", handler_args = out,
  producer = { kafka = { debug = "eos" } },
  delivery = "exactly_once", transactional_id = id, log = log, on_event = function() end,
})

local function wait_until(arrived, problem)
  local deadline = core.now() + PATIENCE
  while not arrived() do
    assert(core.now() < deadline, problem)
    consumer:step(STEP)
  end
end

local begun = core.now()
assert(consumer:start())
if dies then
  wait_until(function() return said[OPEN] end, "no transaction was begun")
  os.execute "kill -KILL $PPID"
end
wait_until(function() return consumer:stats().done > 0 or consumer:stats().outputs_sent > 0 end,
  "no record was handled")
local first = core.now() - consumer:stats().idle
wait_until(function() return said[READY] end, "init_transactions did not return")
assert(consumer:close())
print(("takeover_s %.3f\nstart_s %.3f"):format(first - said[READY], first - begun))
