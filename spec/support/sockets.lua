-- What handlers in an event loop talk by, as their users do: connections of
-- cqueues and of luv, a Redis client and an HTTP client upon them.
--
--   local talk = sockets.cqueues          or sockets.luv
--   talk.run(limit, body)                 body() in a coroutine of the loop
--   talk.sleep(seconds)
--   talk.connect(port) -> connection      waits; send(text) line() read(count) close()
local system = require "system"

local sockets = {}

local PATIENCE = 60 -- seconds for an answer

-- ---- cqueues -----------------------------------------------------------------

local in_cqueues = {}

local methods = {}
methods.__index = methods

function methods:send(text)
  assert(self.socket:write(text))
  assert(self.socket:flush())
end

function methods:line() return (assert(self.socket:read "*l"):gsub("\r$", "")) end
function methods:read(count) return count == 0 and "" or assert(self.socket:read(count)) end
function methods:close() self.socket:close() end

function in_cqueues.connect(port)
  local socket = assert(require "cqueues.socket".connect("127.0.0.1", port))
  socket:setmode("b", "bf")
  socket:settimeout(PATIENCE)
  assert(socket:connect())
  return setmetatable({ socket = socket }, methods)
end

function in_cqueues.sleep(seconds) require "cqueues".sleep(seconds) end

-- -> the controller that runs
function in_cqueues.loop() return require "cqueues".running() end

function in_cqueues.run(limit, body)
  local controller, over = require "cqueues".new(), false
  controller:wrap(function()
    body()
    over = true
  end)
  local deadline = system.monotime() + limit
  while not controller:empty() and system.monotime() < deadline do
    assert(controller:step(0.1))
  end
  controller:close() -- a spec's upvalues may keep it
  assert(over, "the loop did not come to its end")
end

-- ---- luv ---------------------------------------------------------------------

local in_luv = {}

local streams = {}
streams.__index = streams

-- What a callback of luv ends: wait() returns what it was given.
local function new_wait()
  local thread = require "strand.loop.adapter".running() -- in 5.1 not the handler's own
  local waits, values = false, nil
  local function wake(...)
    values = { ... }
    if not waits then return end
    local ok, problem = coroutine.resume(thread)
    if not ok then error(debug.traceback(thread, problem), 0) end
  end
  local function wait()
    waits = true
    if not values then coroutine.yield() end
    return (table.unpack or unpack)(values, 1, 2)
  end
  return wait, wake
end

function streams:send(text)
  local wait, wake = new_wait()
  assert(self.tcp:write(text, wake))
  local problem = wait()
  assert(not problem, problem)
end

-- More bytes are there, or it raises.
local function receive(self)
  local wait, wake = new_wait()
  self.wake = wake
  wait()
  self.wake = nil
  assert(not self.problem, self.problem)
end

function streams:line()
  local at = self.text:find("\r\n", 1, true)
  while not at do
    receive(self)
    at = self.text:find("\r\n", 1, true)
  end
  local line = self.text:sub(1, at - 1)
  self.text = self.text:sub(at + 2)
  return line
end

function streams:read(count)
  while #self.text < count do receive(self) end
  local text = self.text:sub(1, count)
  self.text = self.text:sub(count + 1)
  return text
end

function streams:close() self.tcp:close() end

function in_luv.connect(port)
  local self = setmetatable({ tcp = require "luv".new_tcp(), text = "" }, streams)
  local wait, wake = new_wait()
  assert(self.tcp:connect("127.0.0.1", port, wake))
  local problem = wait()
  assert(not problem, problem)
  assert(self.tcp:read_start(function(failed, text)
    self.problem = failed or (not text and "closed") or nil
    self.text = self.text .. (text or "")
    if self.wake then self.wake() end
  end))
  return self
end

function in_luv.sleep(seconds)
  local wait, wake = new_wait()
  local timer = require "luv".new_timer()
  timer:start(math.ceil(seconds * 1000), 0, wake)
  wait()
  timer:close()
end

function in_luv.loop() return require "luv" end

function in_luv.run(limit, body)
  local uv = require "luv"
  local ended
  coroutine.wrap(function() -- no pcall around it: 5.1 could not yield
    body()
    ended = true
  end)()
  local deadline = system.monotime() + limit
  local tick = uv.new_timer() -- so that each turn ends
  tick:start(100, 100, function() end)
  while ended == nil and system.monotime() < deadline do uv.run "once" end
  tick:close()
  while uv.run "nowait" do if system.monotime() > deadline then break end end
  assert(ended, "the loop did not come to its end")
end

sockets.cqueues, sockets.luv = in_cqueues, in_luv

-- ---- Redis and HTTP ------------------------------------------------------------

--- The port of scripts/redis.
function sockets.redis_port()
  return assert(tonumber(os.getenv "STRAND_REDIS"), "run by: scripts/redis run")
end

local function read_reply(connection)
  local line = connection:line()
  local kind, rest = line:sub(1, 1), line:sub(2)
  if kind == "+" then return rest end
  if kind == ":" then return tonumber(rest) end
  if kind == "-" then error("redis: " .. rest, 0) end
  local count = tonumber(rest)
  if count < 0 then return nil end
  if kind == "$" then return connection:read(count + 2):sub(1, count) end
  local list = {}
  for i = 1, count do list[i] = read_reply(connection) end
  return list
end

--- sockets.redis(connection, "RPUSH", key, value) -> the reply; raises an error
function sockets.redis(connection, ...)
  local words = { "*" .. select("#", ...) .. "\r\n" }
  for i = 1, select("#", ...) do
    local word = tostring((select(i, ...)))
    words[#words + 1] = ("$%d\r\n%s\r\n"):format(#word, word)
  end
  connection:send(table.concat(words))
  return read_reply(connection)
end

--- sockets.post(connection, path) -> status, body
function sockets.post(connection, path)
  connection:send(("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"):format(path))
  local status = tonumber(connection:line():match "^HTTP/1.1 (%d+)")
  local length, line = 0, connection:line()
  while line ~= "" do
    length = tonumber(line:lower():match "^content%-length: (%d+)") or length
    line = connection:line()
  end
  return status, connection:read(length)
end

--- Connections to one port, each used by one at a time: pool(talk, port) has
--- take(), give(connection) and close().
function sockets.pool(talk, port)
  local idle, all = {}, {}
  return {
    take = function()
      local connection = table.remove(idle)
      if connection then return connection end
      connection = talk.connect(port)
      all[#all + 1] = connection
      return connection
    end,
    give = function(connection) idle[#idle + 1] = connection end,
    close = function()
      for _, connection in ipairs(all) do connection:close() end
    end,
  }
end

return sockets
