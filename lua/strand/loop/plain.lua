-- plain.lua: a small event loop, for programs that have none
--
--   strand.loop.plain.start(object)   as with the other loops
--   strand.loop.plain.spawn(f)        f() in a coroutine of the loop
--   strand.loop.plain.run()           until every coroutine has ended
--   strand.loop.plain.step(timeout)   one turn -> number of coroutines resumed
--
-- plain.new() makes another one.

local core = require "strand.core"
local schema = require "strand.schema"
local service = require "strand.loop.service"
local running = require("strand.loop.adapter").running
local sleepers = require "strand.loop.sleepers"

-- What one loop has: 'waiting' { [fd] = waiter }.
local function new_state()
  return { list = sleepers.new(core.now), waiting = {}, runs = false }
end

local function readable(fd) return core.wait({ fd }, 0) > 0 end

local function wait_for_some(self, timeout)
  local fds = {}
  for fd in pairs(self.waiting) do fds[#fds + 1] = fd end
  if core.wait(fds, timeout) == 0 then return end
  for _, fd in ipairs(fds) do
    if readable(fd) then self.list:wake(self.waiting[fd]) end
  end
end

local function least(a, b)
  if not (a and b) then return a or b end
  return math.min(a, b)
end

local function step(self, timeout)
  if self.runs then schema.raise("plain: the loop runs already") end
  self.runs = true
  wait_for_some(self, least(timeout, self.list:patience()))
  local count = self.list:resume_ready()
  self.runs = false
  return count
end

-- Those that live wait for what is not of this loop, and they would wait for ever.
local function nothing_comes(self)
  return next(self.waiting) == nil and not self.list:patience()
end

local function wait_readable(self, fd)
  local waiter = {}
  self.waiting[fd] = waiter
  self.list:sleep(nil, waiter)
  self.waiting[fd] = nil
end

local function alive(self, handle)
  if handle then return coroutine.status(handle) ~= "dead" end
  return self.list.current == running()
end

-- The adapter's functions, and the loop's own.
local function new()
  local self = new_state()
  local adapter = {
    spawn = function(body) return self.list:spawn(body) end,
    wait_readable = function(fd) wait_readable(self, fd) end,
    sleep = function(seconds, waiter) self.list:sleep(seconds, waiter) end,
    wake = function(waiter) self.list:wake(waiter) end,
    now = core.now,
    alive = function(handle) return alive(self, handle) end,
  }
  local loop = { adapter = adapter, spawn = adapter.spawn, sleep = adapter.sleep, new = new }
  function loop.step(timeout) return step(self, timeout) end
  function loop.run()
    while self.list.live > 0 do
      if nothing_comes(self) then
        self.list:count_again()
        if nothing_comes(self) then return end
      end
      step(self)
    end
  end
  function loop.start(object)
    return service.start(object, adapter, not self.runs)
  end
  return loop
end

return new()
