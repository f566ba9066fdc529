-- What specs share. The same spec runs on the mock cluster, or on a real
-- broker where STRAND_BROKER names one (scripts/kafka run).
local core = require "strand.core"
local system = require "system"

local helper = {}

-- Compiled code of LuaJIT keeps what it was made with, so what only it knows is not collected.
if rawget(_G, "jit") then
  local collect = collectgarbage
  rawset(_G, "collectgarbage", function(what, ...)
    if what == nil or what == "collect" then require("jit").flush() end
    return collect(what, ...)
  end)
end

-- ---- waiting ---------------------------------------------------------------

local LATE = 8 -- seconds that a busy machine may add to a promised time

--- Seconds so far in which something on this machine waited for a core; nil
--- where the kernel does not say.
local function stalled()
  local file = io.open "/proc/pressure/cpu"
  local text = file and file:read "*a"
  if file then file:close() end
  local total = text and text:match "some.-total=(%d+)"
  return total and total / 1e6
end

--- What a busy machine may have added since 'before', at most 'most': near 0
--- on a quiet one, so that there a promise is tried as it is made.
local function late_since(before, most)
  return before and math.min(stalled() - before, most) or most
end

--- What is served by whoever waits, as long as it is open: what runs in this
--- state would stand still.
helper.served = {}

-- Serves them, and waits for 10 ms, or until one has more.
local function serve(objects)
  local fds = {}
  for _, object in ipairs(objects) do
    assert(object:step(0))
    fds[#fds + 1] = object:fd()
  end
  for _, object in ipairs(helper.served) do
    local is_open = object:step(0) and object.core:state() ~= "closed" -- it may end by that
    if is_open then fds[#fds + 1] = object:fd() end
  end
  core.wait(fds, 0.01)
end

--- Waits until 'condition' returns something true, and returns that; fails
--- after 'limit' seconds, or up to three times as many on a busy machine.
--- Objects with step() that are given are served meanwhile, and those of
--- helper.served.
function helper.eventually(limit, condition, ...)
  local objects = { ... }
  local deadline, before = system.monotime() + limit, stalled()
  while true do
    local value = condition()
    if value then return value end
    if system.monotime() > deadline
      and system.monotime() > deadline + late_since(before, 2 * limit) then
      error(("not true within %g s"):format(limit), 2)
    end
    serve(objects)
  end
end

--- Seconds that 'action' took, and what it returned. helper.late is then what
--- a busy machine may have added to them: near 0 on a quiet one.
function helper.seconds(action, ...)
  local before, start = stalled(), system.monotime()
  local values = { action(...) }
  local seconds = system.monotime() - start
  helper.late = late_since(before, LATE)
  return seconds, (table.unpack or unpack)(values)
end

helper.late = 0

-- ---- names and places ------------------------------------------------------

local function process()
  local file = assert(io.open "/proc/self/stat")
  local pid = file:read "*n"
  file:close()
  return pid
end

-- A file of specs loads this anew, and an address will not do: a sanitizer's
-- allocator gives each process the same.
local loaded = ("%.0f-%d"):format(system.gettime() * 1e6, process())
local names = 0

--- A name that no other test, run or process has: topics, groups, files.
function helper.name(prefix)
  names = names + 1
  return ("%s-%s-%d"):format(prefix or "strand", loaded, names)
end

--- The real broker's host:port, or nil.
function helper.broker()
  return os.getenv "STRAND_BROKER"
end

--- The same broker's listener that wants SASL PLAIN (strand, secret).
function helper.broker_sasl()
  return os.getenv "STRAND_BROKER_SASL"
end

local mock

--- Where Kafka is: the real broker, or a mock cluster of this process, which
--- lives until helper.close_cluster().
function helper.bootstrap()
  if helper.broker() then return helper.broker() end
  mock = mock or assert(require "strand".mock { brokers = 1 })
  return mock.bootstrap_servers
end

--- Opens the mock cluster with so many brokers, where none is open.
function helper.open_mock(brokers)
  assert(not mock, "there is one")
  mock = assert(require "strand".mock { brokers = brokers })
end

--- The mock cluster, for its faults; nil on a real broker.
function helper.mock()
  helper.bootstrap()
  return mock
end

--- How long that mock cluster's answers take, where one is open.
function helper.slow(seconds)
  if mock then assert(mock:rtt(nil, seconds)) end
end

function helper.close_cluster()
  if mock then mock:close() end
  mock = nil
end

--- A new topic, which the broker knows when this returns; -> its name.
function helper.topic(partitions, config)
  local name = helper.name "topic"
  if helper.mock() then
    assert(mock:create_topic(name, partitions or 1))
  else
    local admin = assert(require "strand".admin {
      kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(admin:create_topics({ [name] = { partitions = partitions or 1, config = config } }, 90))
    helper.eventually(90, function() return admin:describe { topics = { name } } end)
    admin:close()
  end
  return name
end

--- A new topic at a broker of the spec's own, by an admin of it: it can be used
--- when this returns. -> its name
function helper.topic_by(admin, prefix, partitions)
  local name = helper.name(prefix)
  assert(admin:create_topics { [name] = partitions })
  helper.eventually(20, function() return admin:describe { topics = { name } } end)
  return name
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

helper.read, helper.write = read, write

--- What a shell command prints.
function helper.output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

--- A new, empty folder under build/; 'make clean' removes it.
function helper.folder()
  local path = "build/tmp/" .. helper.name "spec"
  assert(os.execute("mkdir -p " .. path))
  return path
end

--- How many threads this process has.
function helper.threads()
  local count = 0
  for name in require "lfs".dir "/proc/self/task" do
    if name:match "^%d+$" then count = count + 1 end
  end
  return count
end

--- How many descriptors this process has open.
function helper.descriptors()
  local count = -1 -- the one of the folder
  for _ in require "lfs".dir "/proc/self/fd" do count = count + 1 end
  return count
end

-- ---- the broker as a thing that fails (real brokers only) -------------------

--- helper.kafka("restart" | "restart", "kill" | "pause" | "resume" | "kill" |
--- "set", "KEY=VALUE"): see scripts/kafka.
function helper.kafka(action, how)
  local name = assert(os.getenv "STRAND_KAFKA_NAME", "run by: scripts/kafka run")
  local ok = os.execute(("scripts/kafka %s %s %s >/dev/null"):format(action, name, how or ""))
  assert(ok == true or ok == 0, "scripts/kafka " .. action .. " failed")
end

local frozen = false

--- The broker answers nobody, until helper.kafka_thaw(): the mock's is down. For
--- specs that run on both.
function helper.kafka_freeze()
  frozen = true
  if helper.mock() then mock:down() else helper.kafka "pause" end
end

--- The end of that, if there was one: also for after_each.
function helper.kafka_thaw()
  if not frozen then return end
  frozen = false
  if helper.mock() then mock:up() else helper.kafka "resume" end
end

-- ---- other processes -------------------------------------------------------

local child = {}
child.__index = child

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

--- Starts a Lua process under the same interpreter and paths. 'program' is
--- Lua text; what follows is its arg. The process is ended with
--- helper.end_children() at the latest.
function helper.spawn(program, ...)
  return helper.spawn_in("", program, ...)
end

--- The same in an environment of its own: NAME="value" and so on, for a shell.
function helper.spawn_in(environment, program, ...)
  local folder = helper.folder()
  local arguments = {}
  for i = 1, select("#", ...) do arguments[i] = quote((select(i, ...))) end
  write(folder .. "/main.lua", program)
  local command = [[(
    # A shell lets its background processes ignore SIGINT: undone by env.
    env --default-signal=INT,QUIT ENVIRONMENT LUA ./DIR/main.lua ARGS < /dev/null > DIR/out 2> DIR/err &
    echo $! > DIR/pid.new; mv DIR/pid.new DIR/pid
    wait $!; echo $? > DIR/status.new; mv DIR/status.new DIR/status
  ) 2> /dev/null &]]
  command = command:gsub("DIR", folder):gsub("ENVIRONMENT", (environment:gsub("%%", "%%%%")))
    :gsub("LUA", os.getenv "STRAND_LUA" or arg[-1])
    :gsub("ARGS", (table.concat(arguments, " "):gsub("%%", "%%%%")))
  assert(os.execute(command))
  local self = setmetatable({ folder = folder }, child)
  self.pid = tonumber(helper.eventually(10, function()
    return read(folder .. "/pid")
  end))
  helper.children[#helper.children + 1] = self
  local log = os.getenv "STRAND_CHILDREN" and io.open(os.getenv "STRAND_CHILDREN", "a")
  if log then
    local from = {}
    for place in debug.traceback("", 2):gmatch "spec/[%w_/]*_spec%.lua:%d+" do
      from[#from + 1] = place
    end
    log:write(self.pid, " ", table.concat(from, " "), "\n")
    log:close()
  end
  return self
end

helper.children = {}

--- What it has written so far.
function child:output() return read(self.folder .. "/out") or "" end
function child:errors() return read(self.folder .. "/err") or "" end

--- Its exit status (128 + the signal that ended it), or nil while it runs.
function child:status()
  return tonumber(read(self.folder .. "/status"))
end

-- A thread that wakes at that moment still runs on: each stops by itself.
local function is_stopped(pid)
  local tasks = ("/proc/%d/task/"):format(pid)
  if not require "lfs".attributes(tasks) then return true end -- it has ended
  for id in require "lfs".dir(tasks) do
    local stat = id:match "^%d+$" and read(tasks .. id .. "/stat")
    if stat and not stat:match "%) T[^)]*$" then return false end
  end
  return true
end

--- After STOP nothing of it runs any more.
function child:signal(name)
  if self:status() then return end
  os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid))
  if name == "STOP" then helper.eventually(10, function() return is_stopped(self.pid) end) end
end

--- Waits until it has ended; returns its exit status.
function child:wait(limit)
  return helper.eventually(limit or 30, function() return self:status() end)
end

--- Waits until its output has 'text', a plain string.
function child:says(text, limit)
  local ok, message = pcall(helper.eventually, limit or 30, function()
    assert(not self:status() or self:output():find(text, 1, true),
      "it ended without saying so")
    return self:output():find(text, 1, true)
  end)
  if not ok then
    error(("%s; wanted: %s\noutput: %s\nerrors: %s"):format(
      message, text, self:output(), self:errors()), 2)
  end
end

function helper.end_children()
  for i = #helper.children, 1, -1 do
    helper.children[i]:signal "KILL"
    helper.children[i] = nil
  end
end

return helper
