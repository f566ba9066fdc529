-- demo.lua: 50 in flight on 4 partitions, in place of 16 partitions
--
--   make in-flight                 on a Kafka cluster inside this process
--   make in-flight ARGS=1000       fewer events
--
-- A service asks another one for each event, and waits 20 ms for the answer.
-- With one event at a time in each partition it needs 16 partitions, and a
-- thread for each, to have 16 of them under way. By key, and in local mode, 4
-- partitions and one thread have 50. The same events go both ways here, and
-- what the handlers wrote down is audited: the exit status says whether each
-- event was handled once and in order.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "../product_indexing/?.lua;" .. package.path

local strand = require "strand"
local audit = require "audit"
local core = require "strand.core"
local events = require "events"
local index = require "index"

local COUNT = tonumber(arg[1] or 4000)
local WORK = 0.02   -- seconds that a handler waits
local LIMIT = 60    -- seconds that a way may take
local STEP = 0.05   -- seconds between two looks

local WAYS = {
  { title = "16 partitions, 16 threads, by partition", topic = "events-16", by = "partition",
    threads = 16, options = function(args)
      return { workers = 16, ordering = "partition", handler = "index", handler_args = args }
    end },
  { title = "4 partitions, 50 in flight, by key", topic = "events-4", by = "product",
    threads = 1, options = function(args)
      return { workers = 0, max_in_flight = 50, ordering = "key",
        handler = index.in_coroutines(args) }
    end },
}
local TOPICS = { ["events-16"] = 16, ["events-4"] = 4 }

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function list_files(journal)
  local files = {}
  for name in output(("ls '%s'*"):format(journal)):gmatch "[^\n]+" do files[#files + 1] = name end
  return files
end

local function open(servers, way, journal)
  local options = way.options { journal = journal, work = WORK }
  options.topics = { way.topic }
  options.kafka = { ["bootstrap.servers"] = servers, ["group.id"] = way.topic,
    ["session.timeout.ms"] = 6000 } -- what a join takes on the embedded cluster
  return assert(strand.consumer(options))
end

local function wait_until(consumer, reached)
  local deadline = core.now() + LIMIT
  while not reached() do
    if core.now() > deadline then error(("not within %d s"):format(LIMIT), 0) end
    assert(consumer:step(STEP))
  end
end

-- The end of a partition is known from its first fetch.
local function is_reading(consumer, partitions)
  local list = consumer:assignment()
  for _, place in ipairs(list) do
    if place.state ~= "running" or not place.end_offset then return false end
  end
  return #list == partitions
end

-- -> what the audit found, and the seconds from the first event to the last
local function try(servers, way, ends, journal)
  local consumer = open(servers, way, journal)
  assert(consumer:pause()) -- until all can be read
  assert(consumer:start())
  wait_until(consumer, function() return is_reading(consumer, TOPICS[way.topic]) end)
  local begin = core.now()
  assert(consumer:resume())
  wait_until(consumer, function() return consumer:stats().done >= COUNT end)
  assert(consumer:close())
  index.teardown()
  local result = audit.read(list_files(journal), ends, way.by)
  result.seconds = result.last - begin
  return result
end

local function holds(result)
  return result.handled == COUNT and result.missing == 0 and result.repeated == 0
    and result.early == 0
end

local function show(way, result)
  say("%-42s %10d %8d %8d %8.1f %9.0f %6s", way.title, TOPICS[way.topic], way.threads,
    result.most, result.seconds, COUNT / result.seconds, holds(result) and "yes" or "NO")
end

local function demo(servers, place)
  local held = true
  say("%-42s %10s %8s %8s %8s %9s %6s", "", "partitions", "threads", "at once", "seconds",
    "events/s", "held")
  for i, way in ipairs(WAYS) do
    local ends = events.fill(servers, way.topic, COUNT)
    local result = try(servers, way, ends, ("%s/journal-%d"):format(place, i))
    show(way, result)
    held = held and holds(result)
  end
  return held
end

local mock = assert(strand.mock { topics = TOPICS })
local place = output "mktemp -d":match "[^\n]+"
local ok, held = xpcall(demo, debug.traceback, mock.bootstrap_servers, place)
os.execute(("rm -rf '%s'"):format(place))
mock:close()
if not ok then say("%s", held) end
say(ok and held and "It held." or "It did not hold.")
os.exit(ok and held and 0 or 1, true)
