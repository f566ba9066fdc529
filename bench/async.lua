-- async.lua: strand with async workers, many handlers that wait in the loops of two threads
--
--   async.lua read BROKERS TOPIC LOOP IN_FLIGHT MS RECORDS      as in_flight.lua
--   async.lua waiting BROKERS TOPIC LOOP IN_FLIGHT 0 RECORDS    the same, of one worker
--
-- It fails unless each record was handled once.

local strand = require "strand"
local core = require "strand.core"
local probe = require "probe"

local what, brokers, topic, name = arg[1], arg[2], arg[3], arg[4]
local in_flight, seconds, records = tonumber(arg[5]), tonumber(arg[6]) / 1000, tonumber(arg[7])
local LOOK, PATIENCE = 0.05, 60
local REST = 3 -- as in_flight.lua's

local function start(workers, args)
  args.loop = name
  local consumer = assert(strand.consumer {
    kafka = {
      ["bootstrap.servers"] = brokers,
      ["group.id"] = ("async-%s-%.0f"):format(name, core.now() * 1e6),
    },
    topics = { topic }, workers = workers, loop = name, max_in_flight = in_flight,
    handler = "in_flight", handler_args = args,
  })
  assert(consumer:start())
  return consumer
end

local function wait_until(consumer, count, reached)
  local last, since = nil, core.now()
  while not reached() do
    consumer:step(LOOK)
    local now = core.now()
    if count() ~= last then last, since = count(), now end
    assert(now - since < PATIENCE, "nothing comes any more")
  end
end

local actions = {}

function actions.read()
  probe.meter(records)
  local consumer = start(2, { seconds = seconds })
  wait_until(consumer, probe.how_many_ended, function() return probe.how_many_ended() >= records end)
  local report, committed = assert(consumer:close()), 0
  for _, place in ipairs(report.committed) do committed = committed + place.offset end
  assert(report.done == records and report.failed == 0 and committed == records,
    "not every record was done once")
  probe.print_meter()
end

function actions.waiting()
  probe.meter(records)
  local consumer = start(1, { seconds = 3600, waiting = in_flight })
  wait_until(consumer, probe.how_many_ended, function() return probe.came() == 1 end)
  local till = core.now() + REST
  while core.now() < till do consumer:step(LOOK) end
  print(("bytes %.0f\nrunning %d"):format(probe.used(), probe.how_many_ended()))
  io.flush()
  os.exit(true)
end

actions[what]()
