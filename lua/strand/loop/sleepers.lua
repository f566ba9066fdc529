-- sleepers.lua: coroutines that a loop resumes by itself
--
-- Of luv and of the plain loop: who sleeps, until when, and who is to be resumed now; 'live' of
-- those it has made have not ended. One that is parked and forgotten, so that nobody can resume it,
-- is collected: nothing here keeps it. The loop calls resume_ready() in each turn, and is told by
-- 'soon' when somebody is to be resumed who was not before, or a time is set.

local adapter = require "strand.loop.adapter"
local timers = require "strand.loop.timers"

local sleepers = {}
sleepers.__index = sleepers

local function no_matter() end

-- soon(self): there is somebody to resume, or an earlier time
function sleepers.new(now, soon)
  return setmetatable({ now = now, soon = soon or no_matter, first = 1, last = 0, ready = {},
    timers = timers.new(), current = false, spawned = setmetatable({}, { __mode = "k" }), live = 0,
  }, sleepers)
end

-- In a later turn: thread, or what it sleeps with, with 'failed' for the error that ends it.
local function make_ready(self, thread, waiter)
  self.last = self.last + 1
  self.ready[self.last] = { thread = thread, failed = waiter and waiter.failed }
  self.soon(self)
end

function sleepers:spawn(body)
  local thread = coroutine.create(body)
  self.spawned[thread], self.live = true, self.live + 1
  make_ready(self, thread)
  return thread
end

-- Ends the sleep of 'waiter', where there is one.
function sleepers:wake(waiter)
  local thread = waiter.thread
  if not thread then return end
  waiter.thread = false
  if waiter.entry then self.timers:drop(waiter.entry) end
  waiter.entry = false
  make_ready(self, thread, waiter)
end

function sleepers:sleep(seconds, waiter)
  waiter = waiter or {}
  waiter.thread, waiter.entry = adapter.running(), false
  if seconds then
    waiter.entry = { at = self.now() + seconds, waiter = waiter }
    self.timers:add(waiter.entry)
    self.soon(self)
  end
  coroutine.yield()
end

local function wake_due(self)
  local now = self.now()
  local entry = self.timers:due(now)
  while entry do
    entry.waiter.entry = false
    self:wake(entry.waiter)
    entry = self.timers:due(now)
  end
end

local function take_ready(self)
  local entry = self.ready[self.first]
  self.ready[self.first] = nil
  self.first = self.first + 1
  return entry
end

local function say_ended(entry, problem)
  local text = debug.traceback(entry.thread, tostring(problem))
  if entry.failed then return entry.failed(text) end
  io.stderr:write("strand: error in a coroutine of the loop: ", text, "\n")
end

-- Those that are ready now, and no more: what they make ready is for the next turn.
-- -> how many were resumed
function sleepers:resume_ready()
  wake_due(self)
  local last, first = self.last, self.first
  while self.first <= last do
    local entry = take_ready(self)
    self.current = entry.thread
    local ok, problem = coroutine.resume(entry.thread)
    self.current = false
    if not ok then say_ended(entry, problem) end
    if self.spawned[entry.thread] and coroutine.status(entry.thread) == "dead" then
      self.spawned[entry.thread], self.live = nil, self.live - 1
    end
  end
  return last - first + 1
end

-- Those that were dropped live no more.
function sleepers:count_again()
  collectgarbage()
  self.live = 0
  for _ in pairs(self.spawned) do self.live = self.live + 1 end
end

-- -> seconds until somebody is to be resumed, 0: now | nil: nobody waits for a time
function sleepers:patience()
  if self.first <= self.last then return 0 end
  local at = self.timers:next()
  return at and math.max(0, at - self.now())
end

return sleepers
