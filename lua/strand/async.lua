-- async.lua: the event loop of a worker thread, in the worker's own Lua state
--
-- C (src/lua/async) opens it, and has it turn:
--
--   start() -> true | nil, message, code   it turns until the modules are loaded and set up
--   run()   -> true | false, message       ...until the worker should end and nothing runs, and
--                                          teardown has; false: the loop has ended before
--   leave()                                the state will be closed; what is left is torn down
--
-- In the loop one coroutine does that, and between the two serves the worker: it waits for the
-- worker's bell, and wakes bodies (bodies.lua), which are coroutines of the loop as well.
--
-- What it gets of C:
--   loop, max_slice, args, routes   as options
--   local_open(...)     for bodies.new
--   bell() -> fd        readable when there is something to look at
--   is_over()           the worker should end, and nothing runs
--   begun()             leases so far
--   is_short()          of memory
--   wanted() -> number  whose traceback is: as bodies:where; nil: of none
--   traced(text)        that
--   warn(text)          in the consumer's log
--   contain(library, handler, failed) -> whether failed(handler(problem)) is told what a callback
--                       of that library raises, which then ends nothing else

local adapters = require "strand.loop.adapter"
local bodies = require "strand.bodies"

local FAILURES_MOST = 100 -- turns in a row that fail, while nothing else happens
local LOG_EVERY = 1 -- seconds between two lines about coroutines that fail

local async = {}
async.__index = async

-- A turn ---------------------------------------------------------------------

-- What a coroutine of the user's own raises ends that one alone.
local function tell_failed(self, problem)
  local now = self.driver.adapter.now()
  self.untold = self.untold + 1
  if self.told_at and now - self.told_at < LOG_EVERY then return end
  local more = self.untold > 1 and (" (%d of this kind)"):format(self.untold) or ""
  self.told_at, self.untold = now, 0
  self.own.warn(("worker's event loop: %s%s"):format(tostring(problem), more))
end

-- A loop that fails again and again while no handler begins does not work any more.
local function count_failure(self)
  local begun = self.own.begun()
  if begun ~= self.begun then self.failures, self.begun = 0, begun end
  self.failures = self.failures + 1
  return self.failures < FAILURES_MOST
end

-- -> true | false, why: the loop has ended
local function turn(self)
  local ok, goes_on, problem = pcall(self.driver.step)
  if not ok then goes_on, problem = false, goes_on end
  self.bodies:settle_call()
  if goes_on == nil and self.finished then return true end -- nothing is left in it
  if goes_on then
    self.failures = 0
  else
    tell_failed(self, problem)
    if goes_on == nil or not count_failure(self) then
      return false, "the event loop has ended: " .. tostring(problem)
    end
  end
  if self.finished then return true end
  if self.broken then return false, self.broken end
  if not self.driver.adapter.alive(self.handle) then
    return false, "the event loop has lost the coroutine that serves it"
  elseif self.own.is_short() then
    return false, "not enough memory (option 'worker_memory')"
  end
  return true
end

-- In the loop ----------------------------------------------------------------

local function serve(self)
  local own, adapter, all = self.own, self.driver.adapter, self.bodies
  local bell = own.bell()
  repeat
    all:serve()
    local number = own.wanted()
    if number then own.traced(all:where(number)) end
    if own.is_over() then return end
    adapter.wait_readable(bell)
  until own.is_over()
end

local function live(self)
  local ok, message, code = self.bodies:load()
  self.ready, self.problem, self.code = true, not ok and message, code
  self.driver.stop()
  if ok then serve(self) end
  self.bodies:finish()
  self.finished = true
  self.driver.stop()
end

-- The loop ends for the first reason that there is: later ones follow from that.
local function break_off(self, problem)
  self.broken = self.broken or tostring(problem)
  self.driver.stop()
end

-- What it raises, lack of memory mostly, would be told as the loop tells of such.
local function main(self)
  if not adapters.yields_across_pcall then return live(self) end
  local ok, problem = pcall(live, self)
  if not ok then break_off(self, problem) end
end

-- For C ----------------------------------------------------------------------

function async:start()
  self.handle = self.driver.adapter.spawn(function() main(self) end)
  while not self.ready do
    local ok, problem = turn(self)
    if not ok then return nil, problem, "HANDLER" end
  end
  if not self.problem then return true end
  while not self.finished and turn(self) do end
  return nil, self.problem, self.code
end

function async:run()
  while not self.finished do
    local ok, problem = turn(self)
    if not ok then return false, problem end
  end
  return true
end

function async:leave()
  if not self.finished then self.bodies:leave() end
  self.driver.leave()
end

-- A loop's library is the user's to install.
local function driver_of(name)
  local ok, found = pcall(require, name)
  if ok then return require("strand.loop." .. name).driver(found) end
  return nil, ("option 'loop': the rock '%s' cannot be loaded in a worker: %s"):format(name,
    tostring(found))
end

local function refused(message)
  return { start = function() return nil, message, "NO_LOOP" end, leave = function() end }
end

local function contain(self)
  local library = self.driver.library
  if not library then return end
  self.own.contain(library, function(problem) return debug.traceback(tostring(problem), 2) end,
    function(problem) tell_failed(self, problem) end)
end

return function(own)
  local driver, problem = driver_of(own.loop)
  if not driver then return refused(problem) end
  local self = setmetatable({ own = own, driver = driver, ready = false, finished = false,
    failures = 0, begun = 0, untold = 0, broken = false }, async)
  self.bodies = bodies.new({
    adapter = driver.adapter,
    dispatcher = {
      log = function(_, _, _, text) own.warn(text) end,
      tell = function(_, event) own.warn(event.reason) end, -- the adapter's faults
    },
  }, own, { routes = own.routes, retries = {}, args = own.args, max_slice = own.max_slice })
  contain(self)
  return self
end
