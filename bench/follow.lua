-- follow.lua: strand beside 'raw latency' and 'raw idle', and as they print
--
--   follow.lua BROKERS TOPIC HANDLER RECORDS FROM    latencies that HANDLER notes
--   follow.lua BROKERS TOPIC idle SECONDS            CPU seconds

local strand = require "strand"
local core = require "strand.core"
local probe = require "probe"

local brokers, topic, handler = arg[1], arg[2], arg[3]
local PATIENCE = 60
local REST = 3 -- raw.c's too
local STEP = 0.2

local consumer = assert(strand.consumer {
  kafka = {
    ["bootstrap.servers"] = brokers,
    ["group.id"] = ("follow-%s-%.0f"):format(handler, core.now() * 1e6),
  },
  topics = { topic }, workers = 4, handler = handler == "idle" and "empty" or handler,
  start_timeout = PATIENCE, on_event = function() end,
})

local function wait_until(reached, problem)
  local deadline = core.now() + PATIENCE
  while not reached() do
    assert(core.now() < deadline, problem)
    consumer:step(STEP)
  end
end

local function is_reading()
  local partitions = consumer:stats().partitions
  for _, partition in ipairs(partitions) do
    if partition.state ~= "running" then return false end
  end
  return #partitions > 0
end

local function join()
  assert(consumer:start())
  wait_until(is_reading, "no assignment")
  print "ready"
  io.flush()
end

local function rest(seconds)
  local cpu, deadline = os.clock(), core.now() + seconds
  repeat consumer:step(deadline - core.now()) until core.now() >= deadline
  return os.clock() - cpu
end

if handler == "idle" then
  local seconds = tonumber(arg[4])
  join()
  rest(REST)
  print(("seconds %d\ncpu %.6f"):format(seconds, rest(seconds)))
  assert(assert(consumer:close()).done == 0, "the topic has records")
else
  local records, from = tonumber(arg[4]), tonumber(arg[5])
  probe.expect(records)
  join()
  wait_until(function() return probe.came() >= records end, "not every record came")
  assert(consumer:close())
  io.flush()
  probe.print(from)
end
