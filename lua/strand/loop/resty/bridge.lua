-- bridge.lua: how light threads of nginx wait for descriptors of strand
--
-- nginx waits for its own sockets alone: one of them is connected to C (src/base/bridge.h), which
-- writes the number of a descriptor that has become readable. One light thread reads:
--
--   wait(fd) -> arm, in C -> number -> reader -> the semaphore of who waits
--
-- There is one bridge in a worker, while anything is served.

local core = require "strand.core"
local semaphore = require "ngx.semaphore"

local bridge = {}
bridge.__index = bridge

local FOREVER = 2147483.647 -- seconds, the longest time that nginx waits
local CONNECT, SEND = 5000, 5000 -- milliseconds
local NUMBER = 4 -- bytes

-- A new folder is made below this one. -> a bridge, which opens itself when first waited for
function bridge.new(folder)
  return setmetatable({ folder = folder, opened = false, waiting = {} }, bridge)
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
  local c, message = core.bridge(self.folder)
  if not c then return nil, message end
  local socket = ngx.socket.tcp()
  socket:settimeouts(CONNECT, SEND, FOREVER * 1000)
  local ok, problem = socket:connect("unix:" .. c:path())
  if ok then ok, problem = c:accept() end
  if ok then return c, socket end
  c:close()
  return nil, problem
end

-- In a timer of its own.
local function live(self)
  local c, socket = connect(self)
  if not c then
    self.problem = socket
    self.opening:post(1000)
    self.opening = nil
    return
  end
  self.c, self.opened = c, true
  self.opening:post(1000)
  self.opening = nil
  read(self, socket)
  self.opened = false
  socket:close()
  c:close()
  self:wake_all()
end

-- -> true | nil, problem. Yields.
function bridge:open()
  if self.opened then return true end
  if not self.opening then
    local opening = assert(semaphore.new(0))
    local ok, problem = ngx.timer.at(0, function() live(self) end)
    if not ok then return nil, problem end
    self.opening, self.problem = opening, nil
  end
  self.opening:wait(CONNECT / 1000)
  if self.opened then return true end
  return nil, self.problem or "its timer has not started: raise lua_max_running_timers"
end

-- Until fd is readable, or earlier. Raises when there is no bridge.
function bridge:wait(fd)
  local ok, problem = self:open()
  if ok then ok, problem = self.c:arm(fd) end
  if not ok then error("the bridge: " .. tostring(problem), 0) end
  local waiter = assert(semaphore.new(0))
  self.waiting[fd] = waiter
  waiter:wait(FOREVER)
  if self.waiting[fd] == waiter then self.waiting[fd] = nil end
end

function bridge:close()
  if self.opened then self.c:close() end
end

return bridge
