-- Members of a group: consumers of this process or of others, with the
-- timeouts that specs can wait for.
local helper = require "spec.support.helper"
local modes = require "spec.support.modes"

local member = {}
local opened = {}
local way = modes.threads

--- How handlers run (spec/support/modes.lua), in consumers of this process, up
--- to member.end_all.
function member.use(mode)
  way = mode
  if way.open then way.open() end
end

local function copy(given)
  local copied = {}
  for name, value in pairs(given or {}) do copied[name] = value end
  return copied
end

local function with_defaults(given)
  local options, kafka = copy(given), copy(given.kafka)
  options.kafka = kafka
  local defaults = {
    ["bootstrap.servers"] = helper.broker(), ["session.timeout.ms"] = 6000,
    ["heartbeat.interval.ms"] = 200, ["reconnect.backoff.max.ms"] = 500,
  }
  for name, value in pairs(defaults) do
    if kafka[name] == nil then kafka[name] = value end
  end
  kafka["group.id"] = kafka["group.id"] or options.group
  options.group = nil
  options.handler = options.handler or "spec.support.recorder"
  if options.audit then
    local args = copy(options.handler_args)
    args.log, args.gates = options.audit.path, args.gates or options.audit.gates
    options.handler_args, options.audit = args, nil
  end
  return options
end

--- A consumer of this process, not started. options: those of strand.consumer,
--- and group, audit. Returns it, its events and its log lines (lists).
function member.open(options)
  local events, lines = {}, {}
  options = with_defaults(options)
  options.on_event = function(event) events[#events + 1] = event end
  options.log = function(_, facility, message) lines[#lines + 1] = facility .. ": " .. message end
  if way ~= modes.threads then
    options.workers = options.workers or 16 -- the default
    way.change(options)
  end
  local consumer = assert(require "strand".consumer(options))
  if way.wrap then consumer = way.wrap(consumer) end
  opened[#opened + 1] = consumer
  if way.is_local then table.insert(helper.served, consumer) end
  return consumer, events, lines
end

--- The same, started.
function member.start(options)
  local consumer, events, lines = member.open(options)
  assert(consumer:start())
  return consumer, events, lines
end

--- How many events of a type there are, and the last of them. fields: what
--- the event must have besides.
function member.events(events, type, fields)
  local count, last = 0, nil
  for _, event in ipairs(events) do
    local matches = event.type == type
    for name, value in pairs(fields or {}) do matches = matches and event[name] == value end
    if matches then count, last = count + 1, event end
  end
  return count, last
end

--- Waits until the consumer has 'count' partitions, each of them restored.
function member.wait_assigned(limit, consumer, count, ...)
  helper.eventually(limit, function()
    local ready = 0
    for _, partition in ipairs(consumer:assignment()) do
      if partition.state == "running" then ready = ready + 1 end
    end
    return ready == count
  end, consumer, ...)
end

--- Waits until all members of the consumer have joined: each has partitions,
--- restored, and 'count' is how many they have together.
function member.wait_joined(limit, consumer, members, count, ...)
  helper.eventually(limit, function()
    local list, joined, seen = consumer:assignment(), 0, {}
    for _, partition in ipairs(list) do
      if partition.state ~= "running" then return false end
      if not seen[partition.member] then joined = joined + 1 end
      seen[partition.member] = true
    end
    return #list == count and joined == members
  end, consumer, ...)
end

-- ---- other processes -------------------------------------------------------

local function literal(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local fields = {}
  for name, field in pairs(value) do
    fields[#fields + 1] = ("[%s] = %s"):format(literal(name), literal(field))
  end
  return "{ " .. table.concat(fields, ", ") .. " }"
end

local PROGRAM = [[
if arg[2] then assert(package.loadlib(arg[2], "*")) end
require "spec.support.member".main(assert(loadfile(arg[1]))())
]]

--- A process that runs a consumer until a signal comes, and writes its
--- events, its log and its report to its output, a line each (in_loop: see
--- member.main). library: one
--- whose functions its librdkafka's are called by, see spec/support/trap.c.
function member.spawn(options, library)
  local path = helper.folder() .. "/options.lua"
  helper.write(path, "return " .. literal(with_defaults(options)))
  if library then return helper.spawn(PROGRAM, path, library) end
  return helper.spawn(PROGRAM, path)
end

local function say(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  io.stdout:write(table.concat(words, " "), "\n")
end

-- As run() does, in an event loop: until SIGTERM or a fatal error.
local function run_in_cqueues(options)
  local cqueues, signal = require "cqueues", require "cqueues.signal"
  local controller, results = cqueues.new(), nil
  signal.block(signal.SIGTERM) -- before there is a thread
  local consumer = assert(require "strand".consumer(options))
  controller:wrap(function()
    assert(require "strand.loop.cqueues".start(consumer))
    signal.listen(signal.SIGTERM):wait()
    results = { consumer:close() }
  end)
  assert(controller:loop())
  return (table.unpack or unpack)(results, 1, 4)
end

--- What such a process does. With 'in_loop' it runs the handler in a loop of
--- its own (cqueues), as coroutines.
function member.main(options)
  io.stdout:setvbuf "line"
  options.on_event = function(event)
    say("event", event.type, event.topic, event.partition, event.offset, event.code,
      ("%.3f"):format(event.time)) -- when it was, not when it is said
  end
  options.log = function(level, facility, message) say("log", level, facility, message) end
  local in_loop = options.in_loop
  options.in_loop = nil
  local report, message, code, last
  if in_loop then
    report, message, code, last = run_in_cqueues(options)
  else
    report, message, code, last = assert(require "strand".consumer(options)):run()
  end
  report = report or last
  say("done", report.done, "failed", report.failed, "unfinished", #report.unfinished)
  for _, place in ipairs(report.committed) do
    say("committed", place.topic, place.partition, place.offset)
  end
  say("ended", code or "OK", message or "")
end

--- For after_each.
function member.end_all()
  helper.end_children()
  for i = #opened, 1, -1 do
    opened[i]:close { mode = "now", timeout = 5 }
    opened[i], helper.served[i] = nil, nil
  end
  way = modes.threads
end

-- ---- the group, from outside -------------------------------------------------

--- Commits what its handlers have said to be done: they return later than that.
function member.commit_all(consumer)
  helper.eventually(20, function() return consumer:stats().in_flight == 0 end, consumer)
  assert(consumer:commit())
end

--- partition -> { offset, metadata } of a topic, as a new reader sees it.
function member.committed(group, topic)
  local admin = assert(require "strand".admin {
    kafka = { ["bootstrap.servers"] = helper.broker() } })
  local found = {}
  for _, entry in ipairs(assert(admin:group_offsets(group, { topic }))) do
    found[entry.partition] = entry
  end
  admin:close()
  return found
end

--- Whether a record is done according to such an entry.
function member.covers(entry, offset)
  if not entry then return false end
  if offset < entry.offset then return true end
  if not entry.metadata or entry.metadata == "" then return false end
  if not entry.open then
    local decoded = assert(require "strand".metadata.decode(entry.offset, entry.metadata))
    entry.open, entry.highest = {}, decoded.highest
    for _, range in ipairs(decoded.incomplete) do
      for at = range[1], range[2] do entry.open[at] = true end
    end
  end
  return offset <= entry.highest and not entry.open[offset]
end

-- ---- from outside ------------------------------------------------------------

--- Records of a partition before that offset are gone.
function member.delete_records(topic, partition, before)
  local admin = assert(require "strand".admin {
    kafka = { ["bootstrap.servers"] = helper.broker() } })
  assert(admin:delete_records { { topic = topic, partition = partition, offset = before } })
  admin:close()
end

-- ---- what only tool.c can do -------------------------------------------------

local built = {}

--- The path of a program of spec/support, which is compiled once.
function member.program(name)
  if built[name] then return built[name] end
  local path, source = helper.folder() .. "/" .. name, "spec/support/" .. name .. ".c"
  local ok = os.execute("cc -std=gnu11 -Wall -Wextra -o " .. path .. " " .. source
    .. " $(pkg-config --cflags --libs rdkafka)")
  assert(ok == true or ok == 0, source .. " does not compile")
  built[name] = path
  return path
end

--- member.tool("stamp", topic, partition, timestamp), and what else tool.c has;
--- the broker comes by itself.
function member.tool(command, ...)
  return member.tool_at(helper.broker(), command, ...)
end

local function run_tool(broker, path, command, ...)
  local words = { member.program "tool", command, broker }
  for i = 1, select("#", ...) do
    words[#words + 1] = "'" .. tostring((select(i, ...))) .. "'"
  end
  local output = path and (" > '%s'"):format(path) or ""
  local ok = os.execute(table.concat(words, " ") .. output .. " 2> /dev/null")
  assert(ok == true or ok == 0, command .. " failed")
end

function member.tool_at(broker, command, ...)
  run_tool(broker, nil, command, ...)
end

--- What it prints goes to the file 'path'.
function member.tool_to(path, command, ...)
  run_tool(helper.broker(), path, command, ...)
end

return member
