-- bridge.lua: how light threads of nginx wait for descriptors of strand
--
-- nginx waits for its own sockets alone: one of them is connected to C (src/base/bridge.h), which
-- writes the number of a descriptor that has become readable. One light thread reads:
--
--   wait(fd) -> arm, in C -> number -> reader -> the semaphore of who waits
--
-- There is one bridge in a worker, while anything is served.

local core = require "strand.core"
local guard = require "strand.loop.resty.guard"
local semaphore = require "ngx.semaphore"

local bridge = {}
bridge.__index = bridge

local FOREVER = 2147483.647 -- seconds, the longest time that nginx waits
local CONNECT, SEND = 5000, 5000 -- milliseconds
local START = 5 -- seconds, for a timer and the connection
local NUMBER = 4 -- bytes

-- A new folder is made below this one, now: so that whoever starts hears of what is wrong with it.
-- -> a bridge, which opens itself when first waited for | nil, message, code
function bridge.new(folder)
  local listening, message, code = core.bridge(folder)
  if not listening then return nil, message, code end
  return setmetatable({ folder = folder, listening = listening, opened = false, waiting = {} },
    bridge)
end

-- Whoever waits comes too early, and finds out.
function bridge:wake_all()
  local waiting = self.waiting
  self.waiting = {}
  for _, waiter in pairs(waiting) do waiter:post() end
end

local function number_of(bytes)
  local a, b, c, d = bytes:byte(1, NUMBER)
  return a + 256 * (b + 256 * (c + 256 * d))
end

-- Until the end: a timeout means nothing but that so long has passed.
local function read(self, socket)
  while true do
    local bytes, problem = socket:receive(NUMBER)
    if bytes then
      local fd = number_of(bytes)
      local waiter = self.waiting[fd]
      self.waiting[fd] = nil
      if waiter then waiter:post() end
    elseif problem ~= "timeout" then
      return problem
    end
  end
end

local function connect(self)
  local c, message = self.listening, nil
  self.listening = nil
  if not c then c, message = core.bridge(self.folder) end
  if not c then return nil, message end
  local socket = ngx.socket.tcp()
  socket:settimeouts(CONNECT, SEND, FOREVER * 1000)
  local ok, problem = socket:connect("unix:" .. c:path())
  if ok then ok, problem = c:accept() end
  if ok then return c, socket end
  c:close()
  return nil, problem
end

local function opened(self, opening, c, problem)
  self.c, self.opened, self.problem, self.opening = c, c ~= nil, problem, nil
  for _ = 1, opening.waiters do opening.semaphore:post() end
end

-- In a timer of its own. Who waited for it may have given up meanwhile, and begun another.
local function live(self, opening)
  if self.opening ~= opening then return end
  guard.mark()
  local c, socket = connect(self)
  if self.opening == opening then opened(self, opening, c, socket)
  elseif c then c:close() end
  if not c then return end
  read(self, socket)
  socket:close()
  c:close()
  if self.c ~= c then return end
  self.c, self.opened = nil, false
  self:wake_all()
end

local NOT_STARTED = "its timer has not started: lua_max_running_timers or worker_connections is too small"

-- -> true | nil, problem. Yields.
local function open(self)
  if self.opened then return true end
  if not self.opening then
    local opening = { semaphore = assert(semaphore.new(0)), waiters = 0 }
    local ok, problem = ngx.timer.at(0, function() live(self, opening) end)
    if not ok then return nil, problem end
    self.opening, self.problem = opening, NOT_STARTED
  end
  local opening = self.opening
  opening.waiters = opening.waiters + 1
  if not opening.semaphore:wait(START) and self.opening == opening then self.opening = nil end
  if self.opened then return true end
  return nil, self.problem
end

-- Until fd is readable, or earlier. Raises when there is no bridge.
function bridge:wait(fd)
  local ok, problem = open(self)
  if ok then ok, problem = self.c:arm(fd) end
  if not ok then error("the bridge: " .. tostring(problem), 0) end
  local waiter = assert(semaphore.new(0))
  self.waiting[fd] = waiter
  waiter:wait(FOREVER)
  if self.waiting[fd] == waiter then self.waiting[fd] = nil end
end

-- Whoever waits for fd is woken in the next turn of nginx's loop, at no thread's cost. -> whether
-- somebody waits
function bridge:tell(fd)
  return self.opened and self.waiting[fd] ~= nil and self.c:tell(fd)
end

function bridge:close()
  if self.opened then self.c:close() end
  if self.listening then self.listening:close() end
  self.listening = nil
end

return bridge
