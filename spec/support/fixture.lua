-- A fixture for specs of the consumer: consumers with short timeouts that are
-- closed at the end whatever happens, handlers that obey their records
-- (spec/handlers/actor.lua), gates that hold them, and the journal they keep.
--
--   setup(fixture.open)
--   teardown(fixture.close)      nothing is left: no thread, no descriptor
local core = require "strand.core"
local helper = require "spec.support.helper"
local modes = require "spec.support.modes"
local strand = require "strand"
local system = require "system"

local fixture = {}

local consumers, folders, before
local mode = modes.threads

--- 'way': how handlers run (spec/support/modes.lua).
function fixture.open(way)
  consumers, folders, mode = {}, {}, way or modes.threads
  if mode.open then mode.open() end
  core.signals_take() -- its descriptor stays for the process's life
  core.signals_restore()
  collectgarbage()
  before = { threads = helper.threads(), descriptors = helper.descriptors() }
end

-- A spec's upvalues keep its consumers until busted ends: this is what the
-- collector would do.
local function free(consumer)
  debug.getmetatable(consumer.core).__gc(consumer.core)
end

--- Opens all gates, and closes all consumers.
function fixture.clear()
  for _, folder in ipairs(folders) do helper.write(folder .. "/all", "") end
  for _, consumer in ipairs(consumers) do
    consumer:close { mode = "now", timeout = 5 }
    free(consumer)
  end
  for _, list in ipairs { consumers, helper.served } do
    for i = #list, 1, -1 do list[i] = nil end
  end
end

function fixture.close()
  fixture.clear()
  helper.end_children()
  helper.close_cluster()
  if mode.close then mode.close() end
  local ok = pcall(helper.eventually, 20, function()
    collectgarbage()
    return helper.threads() <= before.threads and helper.descriptors() <= before.descriptors
  end)
  if not ok then
    error(("left open: %d threads, %d descriptors"):format(
      helper.threads() - before.threads, helper.descriptors() - before.descriptors), 0)
  end
end

--- A folder for a consumer's handlers: their journal and their gates.
function fixture.folder()
  folders[#folders + 1] = helper.folder()
  return folders[#folders]
end

--- A consumer that is closed at the end, of the way that the fixture was opened
--- for. Fields of 'options' that are absent:
--- 'kafka' (given properties are added to the defaults), 'handler' (the
--- actor), 'handler_args' (a new folder), workers (4).
function fixture.consumer(options)
  local kafka = {
    ["bootstrap.servers"] = helper.bootstrap(), ["group.id"] = helper.name "group",
    ["session.timeout.ms"] = 6000, ["fetch.wait.max.ms"] = 10,
  }
  for name, value in pairs(options.kafka or {}) do kafka[name] = value end
  options.kafka = kafka
  options.workers = options.workers or 4
  if not options.handler then
    options.handler = "spec.handlers.actor"
    options.handler_args = options.handler_args or fixture.folder()
  end
  if options.workers > 0 then mode.change(options) end
  local consumer = assert(strand.consumer(options))
  if mode.wrap then consumer = mode.wrap(consumer) end
  consumers[#consumers + 1] = consumer
  if options.workers == 0 then table.insert(helper.served, consumer) end
  return consumer
end

-- The mock refuses a member that comes for its partitions after the leader has
-- brought them, and the next round is a session later. The leader asks for the
-- topics first: where answers take their time, it comes last.
local SLOW = 0.1

local function with_members(list)
  for _, consumer in ipairs(list) do
    if consumer:stats().members > 1 then return true end
  end
end

--- Starts them all, and waits until each has joined its group: a join takes
--- 3 s on the mock, so they better do it together.
function fixture.start(...)
  local list = { ... }
  local slowed = with_members(list)
  if slowed then helper.slow(SLOW) end
  for _, consumer in ipairs(list) do assert(consumer:start()) end
  local joined, why = {}, nil -- once: what its handlers do may be in trouble soon
  local ok, problem = pcall(helper.eventually, 30, function()
    local count, reason = 0, nil
    for i, consumer in ipairs(list) do
      if not joined[i] then joined[i], reason = consumer:health() end
      if joined[i] then count = count + 1 else why = reason end
    end
    return count == #list
  end, ...)
  if slowed then helper.slow(0) end
  if not ok then error(("%s: %s"):format(problem, why), 2) end
  return ...
end

-- What was produced here, by topic: its end where it has one partition.
local ends = {}

--- The end of a topic of one partition that only fixture.produce has filled.
function fixture.end_of(topic) return ends[topic] or 0 end

--- Sends records, in order: { topic, key, value, headers, partition }. Given
--- properties are added to the producer's.
function fixture.produce(topic, records, properties)
  local kafka = { ["bootstrap.servers"] = helper.bootstrap() }
  for name, value in pairs(properties or {}) do kafka[name] = value end
  local producer = assert(strand.producer { kafka = kafka })
  for _, record in ipairs(records) do
    record.topic = topic
    assert(producer:send(record))
  end
  assert(producer:flush(20))
  producer:close()
  ends[topic] = fixture.end_of(topic) + #records
end

--- { offset, metadata, decoded } by partition, as somebody else reads them.
function fixture.committed(group, topic)
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
  local list = assert(admin:group_offsets(group, { topic }))
  admin:close()
  local found = {}
  for _, entry in ipairs(list) do
    if entry.offset and entry.offset >= 0 then
      found[entry.partition] = { offset = entry.offset, metadata = entry.metadata,
        decoded = entry.metadata and entry.metadata ~= ""
          and assert(strand.metadata.decode(entry.offset, entry.metadata)) or nil }
    end
  end
  return found
end

-- ---- gates and the journal -------------------------------------------------

function fixture.release(folder, gate)
  helper.write(folder .. "/" .. gate, "")
end

local read = {} -- by folder: how far, and the lines so far

-- What was written since the last time, up to its last line's end.
local function read_more(folder)
  local file = io.open(folder .. "/journal", "rb")
  if not file then return "" end
  file:seek("set", read[folder].at)
  local text = file:read "*a":match "^.*\n" or ""
  file:close()
  read[folder].at = read[folder].at + #text
  return text
end

--- What the handlers noted, in order: what ("enter" | "leave"), topic,
--- partition, offset, attempt, worker, time, key.
function fixture.journal(folder)
  read[folder] = read[folder] or { at = 0, lines = {} }
  local lines = read[folder].lines
  for line in read_more(folder):gmatch "([^\n]*)\n" do
    local what, topic, partition, offset, attempt, worker, time, key =
      line:match "^(%l+)\t([^\t]*)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t([%d.]+)\t(.*)$"
    lines[#lines + 1] = { what = assert(what, line), topic = topic, partition = tonumber(partition),
      offset = tonumber(offset), attempt = tonumber(attempt), worker = tonumber(worker),
      time = tonumber(time), key = key ~= "" and key:sub(2) or nil }
  end
  return lines
end

--- How many lines are 'what' (of the offset, when one is given).
function fixture.count(folder, what, offset)
  local count = 0
  for _, line in ipairs(fixture.journal(folder)) do
    if line.what == what and (not offset or line.offset == offset) then count = count + 1 end
  end
  return count
end

fixture.now = system.monotime

--- True after so many seconds, to see that nothing happens meanwhile.
function fixture.pause(seconds)
  local over = fixture.now() + seconds
  return function() return fixture.now() > over end
end

return fixture
