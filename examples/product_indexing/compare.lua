-- compare.lua: the events of many products, indexed in six ways
--
--   make indexing                                   on a Kafka cluster of its own
--   make indexing ARGS="--events 4000 --work 0.002" shorter
--   make indexing ARGS=host:port                    on a real one, on topics of its own
--   make indexing ARGS=--figures                    with lines for programs
--
-- The story: a shop's 80,000 product events took 20 hours to index, with a
-- plain consumer in each of 4 processes. 5 consumers in each of them took 6
-- hours; 10 threads in each of 2 processes, one for a partition, 3 hours; a
-- parallel consumer that keeps no order, 20 at once in each of 2 processes,
-- one hour. Here the same events go each of these ways; then the fourth one
-- with coroutines in place of threads, and a sixth, by key. A handler waits, as
-- for an index; 900 times shorter than there.
--
-- Measured is the time from when all members of a group can read their
-- partitions to when the last event is done. The exit status says whether
-- each event was handled once, and in the order that was promised.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. package.path

local strand = require "strand"
local audit = require "audit"
local core = require "strand.core"
local events = require "events"
local processes = require "processes"
local show = require "show"

-- members: of the group, in each process. plain: by plain.c, without strand.
-- Of 20 partitions each of 20 members has one; in partition order it then
-- handles one record at a time, as a plain consumer does. Five workers, so
-- that none waits for another. workers: handlers at once, in each process;
-- mode: threads, unless it is said.
local STRATEGIES = {
  { name = "plain", title = "a plain consumer in each of 4 processes", hours = 20,
    partitions = 20, processes = 4, members = 1, workers = 1, ordering = "partition" },
  { name = "members", title = "5 members in each of 4", hours = 6,
    partitions = 20, processes = 4, members = 5, workers = 5, ordering = "partition" },
  { name = "partition", title = "10 threads in each of 2, by partition", hours = 3,
    partitions = 20, processes = 2, members = 1, workers = 10, ordering = "partition" },
  { name = "unordered", title = "20 threads in each of 2, unordered", hours = 1,
    partitions = 20, processes = 2, members = 1, workers = 20, ordering = "unordered" },
  { name = "local", title = "20 coroutines in each of 2, unordered",
    partitions = 20, processes = 2, members = 1, workers = 20, ordering = "unordered",
    mode = "local" },
  { name = "key", title = "50 threads in 1, by key, 4 partitions",
    partitions = 4, processes = 1, members = 1, workers = 50, ordering = "key" },
}

local STORY = { events = 80000, at_once = 4, hours = 20 } -- its first strategy

local SETTINGS = { -- of both kinds of consumers
  "auto.offset.reset=earliest",
  "session.timeout.ms=6000",   -- what a join takes on the embedded cluster
  "heartbeat.interval.ms=500", -- how soon a member knows that others have come
}

local PLAIN = folder .. "../../build/examples/plain"
local LUA = arg[-1]
local JOIN_LIMIT = 60 -- seconds

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

-- ---- what is asked for ------------------------------------------------------

local function usage(problem)
  io.stderr:write(problem, "\ncompare.lua [host:port] [--events N] [--work SECONDS] [--figures]\n")
  os.exit(2)
end

local function read_arguments()
  local given = { broker = os.getenv "STRAND_BROKER", events = STORY.events, work = 0.004 }
  local i = 1
  while arg[i] do
    local name = arg[i]:match "^%-%-(%a+)$"
    if not name then
      given.broker = arg[i]
    elseif name == "figures" then
      given.figures = true
    elseif name == "events" or name == "work" then
      i = i + 1
      given[name] = tonumber(arg[i]) or usage("a number is missing after --" .. name)
    else
      usage("unknown: " .. arg[i])
    end
    i = i + 1
  end
  given.work_ms = math.floor(given.work * 1000 + 0.5)
  if given.work_ms < 1 or given.work_ms > 10000 then usage "--work is 0.001 to 10, to the ms" end
  if given.events < 1000 or given.events > STORY.events or given.events % 1 ~= 0 then
    usage(("--events is 1000 to %d"):format(STORY.events))
  end
  given.work = given.work_ms / 1000
  return given
end

-- ---- the cluster ------------------------------------------------------------

-- topics: { [name] = partitions } -> where Kafka is, what takes them away again
local function open_cluster(broker, topics)
  if not broker then
    local mock = assert(strand.mock { brokers = 1, topics = topics })
    return mock.bootstrap_servers, function() mock:close() end
  end
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
  assert(admin:create_topics(topics))
  return broker, function()
    local names = {}
    for name in pairs(topics) do names[#names + 1] = name end
    assert(admin:delete_topics(names))
    admin:close()
  end
end

-- -> the topics that are wanted: { [name] = partitions }, { [partitions] = name }
local function name_topics()
  local prefix = ("strand-indexing-%d-%s"):format(os.time(), tostring({}):match "0x0*(%x+)")
  local topics, names = {}, {}
  for _, strategy in ipairs(STRATEGIES) do
    local name = ("%s-%d"):format(prefix, strategy.partitions)
    topics[name], names[strategy.partitions] = strategy.partitions, name
  end
  return topics, names
end

-- ---- one strategy -----------------------------------------------------------

local function command(run, strategy, journal)
  local share = strategy.partitions / (strategy.processes * strategy.members)
  local words = { run.topic, ("%d"):format(share), run.work_ms, journal }
  if strategy.name == "plain" then
    table.insert(words, 1, PLAIN)
    words[#words + 1] = "log_level=3" -- the embedded cluster refuses the last commits
  else
    table.insert(words, 1, folder .. "consume.lua")
    table.insert(words, 1, LUA)
    for _, name in ipairs { "members", "workers", "ordering" } do
      words[#words + 1] = strategy[name]
    end
    words[#words + 1] = strategy.mode or "threads"
  end
  words[#words + 1] = "bootstrap.servers=" .. run.servers
  words[#words + 1] = ("group.id=%s-%s"):format(run.topic, strategy.name)
  for _, setting in ipairs(SETTINGS) do words[#words + 1] = setting end
  return words
end

-- Each process says which partitions it has. -> the number of events in those
-- of each process, or nil: some have two owners, others none
local function ask_where(list, ends)
  local owned, missing, counts = {}, 0, {}
  for i, process in ipairs(list) do
    process:tell "where"
    counts[i] = 0
    for partition in process:answer "^has (.*)$":gmatch "%d+" do
      partition = tonumber(partition)
      if owned[partition] then return nil end
      owned[partition] = true
      counts[i] = counts[i] + (ends[partition] or 0)
    end
  end
  for partition in pairs(ends) do
    if not owned[partition] then missing = missing + 1 end
  end
  return missing == 0 and counts or nil
end

-- An answer may be older than a member that came later. Once the last one
-- has its partitions, all others know: so the second answer counts.
local function wait_for_group(list, ends)
  local deadline = core.now() + JOIN_LIMIT
  ask_where(list, ends)
  while core.now() < deadline do
    local counts = ask_where(list, ends)
    if counts then return counts end
    core.wait({}, 0.1)
  end
  error("the members did not come to share the partitions", 0)
end

-- The least that the handlers' waits alone can take, in seconds.
local function least(strategy, counts, ends, work)
  local most = 0
  for _, count in ipairs(counts) do most = math.max(most, count / strategy.workers) end
  if strategy.ordering == "partition" then
    for _, count in pairs(ends) do most = math.max(most, count) end
  end
  return most * work
end

local function consume(run, strategy, list)
  local counts = wait_for_group(list, run.ends)
  local begin = core.now()
  for i, process in ipairs(list) do process:tell(("go %d"):format(counts[i])) end
  for _, process in ipairs(list) do process:answer "^(done)$" end
  return begin, least(strategy, counts, run.ends, run.work)
end

local function list_files(place)
  local files = {}
  local listing = assert(io.popen(("ls '%s'"):format(place)))
  for name in listing:lines() do
    if name:match "^journal" then files[#files + 1] = place .. "/" .. name end
  end
  listing:close()
  return files
end

-- run: topic, ends, servers, work, work_ms, and place: an empty folder
local function try(run, strategy)
  local commands = {}
  for i = 1, strategy.processes do
    commands[i] = command(run, strategy, ("%s/journal-%d"):format(run.place, i))
  end
  local limit = math.ceil(2 * JOIN_LIMIT + 4 * run.events * run.work / strategy.processes)
  local list = processes.start(run.place, limit, commands)
  local ok, begin, least_seconds = pcall(consume, run, strategy, list)
  local well = processes.stop(list)
  if not ok then error(("%s: %s"):format(strategy.title, begin), 0) end
  if not well then error(strategy.title .. ": a process did not close well", 0) end
  local result = audit.read(list_files(run.place), run.ends,
    strategy.ordering == "partition" and "partition" or "product")
  result.strategy, result.seconds, result.least = strategy, result.last - begin, least_seconds
  result.at_once = strategy.processes * strategy.workers
  return result
end

-- ---- all of them ------------------------------------------------------------

local function new_folder()
  local made = assert(io.popen "mktemp -d")
  local name = made:read "*l"
  made:close()
  return name
end

local function in_folder(action, run, strategy)
  run.place = new_folder()
  local ok, value = pcall(action, run, strategy)
  os.execute(("rm -rf '%s'"):format(run.place))
  if not ok then error(value, 0) end
  return value
end

local function held(result, count)
  return result.missing == 0 and result.repeated == 0 and result.handled == count
    and (result.early == 0 or result.strategy.ordering == "unordered")
end

local function compare(given, servers, names)
  local ends, results, all_held = {}, {}, true
  for partitions, name in pairs(names) do
    ends[name] = events.fill(servers, name, given.events)
    say("%d events in %d partitions", given.events, partitions)
  end
  for i, strategy in ipairs(STRATEGIES) do
    local topic = names[strategy.partitions]
    local result = in_folder(try, { topic = topic, ends = ends[topic], servers = servers,
      events = given.events, work = given.work, work_ms = given.work_ms }, strategy)
    say("%d  %-40s %7.1f s%s", i, strategy.title, result.seconds,
      held(result, given.events) and "" or "  (it did not hold)")
    all_held = all_held and held(result, given.events)
    results[i] = result
  end
  show.all(results, given, STORY)
  return all_held
end

local given = read_arguments()
local topics, names = name_topics()
local servers, close_cluster = open_cluster(given.broker, topics)
local ok, outcome = xpcall(function() return compare(given, servers, names) end, function(problem)
  return type(problem) == "string" and problem or debug.traceback(tostring(problem))
end)
if not ok then say("%s", outcome) end
close_cluster()
say(ok and outcome and "It held." or "It did not hold.")
os.exit(ok and outcome and 0 or 1, true)
