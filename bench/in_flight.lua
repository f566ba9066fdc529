-- in_flight.lua: strand in local mode, many handlers that wait in an event loop
--
--   in_flight.lua read BROKERS TOPIC LOOP IN_FLIGHT MS RECORDS
--                 each handler sleeps so many ms (0: it does nothing)
--   in_flight.lua follow ...     the same, says "ready" when it is assigned
--   in_flight.lua waiting BROKERS TOPIC LOOP IN_FLIGHT 0 RECORDS
--                 so many sleep for ever, of RECORDS that are read: "bytes B" are in use,
--                 "lua_bytes B" of them Lua's
--   in_flight.lua idle BROKERS TOPIC LOOP IN_FLIGHT SECONDS
--                 as 'raw idle' prints
--
-- meter.lua says what the first two print. They fail unless each record was
-- handled once.

local strand = require "strand"
local core = require "strand.core"
local loops = require "loops"
local meters = require "meter"
local probe = require "probe"

local what, brokers, topic, name = arg[1], arg[2], arg[3], arg[4]
local in_flight, duration, records = tonumber(arg[5]), tonumber(arg[6]), tonumber(arg[7])
local loop = loops[name]
local PATIENCE = 60
local REST = 3 -- raw.c's too

local function open(handler)
  return assert(strand.consumer {
    kafka = {
      ["bootstrap.servers"] = brokers,
      ["group.id"] = ("in-flight-%s-%.0f"):format(name, core.now() * 1e6),
    },
    topics = { topic }, workers = 0, max_in_flight = in_flight, handler = handler,
  })
end

-- -> over(), that raises when nothing has changed for too long
local function patient(count, over)
  local last, since = nil, core.now()
  return function(consumer)
    local is_over, pause = over(consumer)
    if is_over then return true end
    local now = core.now()
    if count() ~= last then last, since = count(), now end
    assert(now - since < PATIENCE, "nothing comes any more")
    return false, pause
  end
end

local function is_reading(consumer)
  local partitions = consumer:stats().partitions
  for _, partition in ipairs(partitions) do
    if partition.state ~= "running" then return false end
  end
  return #partitions > 0
end

-- What was committed starts at 0: when it adds up to as many records as were
-- done, each was done once.
local function check(report)
  local committed = 0
  for _, place in ipairs(report.committed) do committed = committed + place.offset end
  assert(report.done == records and report.failed == 0 and committed == records,
    "not every record was done once")
end

local function say_ready()
  print "ready"
  io.flush()
end

-- A handler has no parameter that its loop has no use for, as those of the other benchmarks: what
-- it cannot see is not made for it.
local function sleeper(meter)
  local seconds, sleep = duration / 1000, loop.sleep
  if seconds == 0 then
    return function() meter.count() end
  elseif not loop.sleeps_by_context then
    return function()
      sleep(seconds)
      meter.count()
    end
  end
  return function(_, context)
    sleep(seconds, context)
    meter.count()
  end
end

local actions = {}

function actions.read()
  local meter = meters.new(records)
  check(loop.serve(open(sleeper(meter)), patient(meter.ended, meter.over)))
  meter.print()
end

function actions.follow()
  local meter, ready = meters.new(records), false
  check(loop.serve(open(sleeper(meter)), patient(meter.ended, function(consumer)
    if not ready and is_reading(consumer) then
      ready = true
      say_ready()
    end
    return meter.over()
  end)))
  meter.print()
end

-- All that is in the topic is read, whatever runs: so 'bytes' of two runs
-- differ by their handlers alone.
function actions.waiting()
  local running, since = 0, nil
  local consumer = open(function(_, context)
    running = running + 1
    loop.sleep(3600, context)
  end)
  loop.serve(consumer, patient(function() return running end, function()
    if running < in_flight then return false end
    since = since or core.now()
    if core.now() - since < REST then return false end
    collectgarbage()
    collectgarbage()
    print(("bytes %.0f\nlua_bytes %.0f\nrunning %d"):format(probe.used(),
      collectgarbage "count" * 1024, running))
    io.flush()
    os.exit(true)
  end))
end

-- Nobody looks while it is measured: that would be the program's own polling.
function actions.idle()
  local state, at, cpu, thread = "joining", nil, nil, nil
  local consumer = open(function() error "the topic has records" end)
  local report = loop.serve(consumer, patient(core.now, function()
    local now = core.now()
    if state == "joining" and is_reading(consumer) then
      state, at = "resting", now + REST
      say_ready()
    elseif state == "resting" and now >= at then
      state, at = "idle", now + duration
      thread, cpu = probe.cpu()
    elseif state == "idle" and now >= at then
      local thread_now, cpu_now = probe.cpu()
      print(("seconds %d\ncpu %.6f\nlua_cpu %.6f"):format(duration, cpu_now - cpu,
        thread_now - thread))
      return true
    end
    return false, at and math.max(0, at - now)
  end))
  assert(report.done == 0 and report.failed == 0)
end

actions[what]()
