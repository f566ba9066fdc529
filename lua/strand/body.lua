-- body.lua: the coroutine that runs handlers, one after another (bodies.lua makes and wakes it)
--
-- Where C does that (core.run, src/lua/local/run.h), only what is around it is here.
--
--   direct       the body itself calls them, in xpcall
--   relayed      where what they yield has to be looked at before the loop sees it (adapter.marker):
--                the same, in an inner coroutine; the body passes on what is a wait
--   trampoline   where Lua cannot yield across pcall (PUC 5.1): the inner coroutine is left after
--                each handler, and what one raises ends it
--
-- What it has of its owner, 'self', that of bodies.lua:
--   core         see there
--   marker       what waits yield first; free: whatever is yielded is a wait
--   park(number, waiter) -> waiter     until it is woken
--   parked       those who park, by number      coroutines  what runs handlers, by number

local adapters = require "strand.loop.adapter"

local create, resume, running, yield = coroutine.create, coroutine.resume, coroutine.running,
  coroutine.yield

-- Whether a coroutine may yield inside of pcall.
local DIRECT = adapters.yields_across_pcall

local body = { direct = DIRECT }

-- A handler's module may raise anything, also what raises when it is made text.
function body.text_of(problem)
  local ok, shown = pcall(tostring, problem)
  return ok and type(shown) == "string" and shown or "a " .. type(problem)
end

local text_of = body.text_of

-- Direct ----------------------------------------------------------------------

-- What an inner coroutine that has nothing more to do yields first.
local ENDED = {}

-- '_' is the coroutine around this, which lives as long; next() is told that a handler has yielded
-- for nobody, where one has. Nothing is kept of a record while this parks.
local function run_directly(self, which, number, _)
  local next, traceback, waiter = self.core.next, self.core.traceback, nil
  local handler, record, context = next(which, nil)
  while handler ~= false do
    if handler then
      handler, record, context = next(which, xpcall(handler, traceback, record, context))
    else
      waiter = self.park(number, waiter)
      handler, record, context = next(which)
    end
  end
  return ENDED
end

-- Where what raised may leave a wait of the loop's behind, which would end another one.
local function run_calmed(self, which, number)
  local next, traceback, calm = self.core.next, self.core.traceback, self.adapter.calm
  local waiter
  local handler, record, context = next(which, nil)
  while handler ~= false do
    if handler then
      local ok, outcome, reason = xpcall(handler, traceback, record, context)
      if not ok then calm() end
      handler, record, context = next(which, ok, outcome, reason)
    else
      if record then self:give_way() end
      waiter = self.park(number, waiter)
      handler, record, context = next(which)
    end
  end
end

-- Relayed ---------------------------------------------------------------------

local function new_inner(self, which, number, f, outer)
  local inner = create(f)
  self.core.enter(which, inner, nil, outer)
  self.coroutines[number] = inner
  return inner
end

-- Passes on what the inner coroutine waits for. -> whether it has ended; else it yielded for nobody
local function relay(self, inner, ok, first, ...)
  if not ok then error(first, 0) end
  if first ~= self.marker then return first == ENDED end
  return relay(self, inner, resume(inner, yield(first, ...)))
end

-- One that yielded for nobody is left as it is: the next has another coroutine.
local function run_relayed(self, which, number)
  repeat
    local outer = running()
    local inner = new_inner(self, which, number, run_directly, outer)
  until relay(self, inner, resume(inner, self, which, number, outer))
end

-- Trampoline ------------------------------------------------------------------

-- What an inner coroutine yields when the handler has returned.
local FINISHED = {}

-- In an inner coroutine, for one record after another.
local function handle(handler, record, context)
  while true do
    handler, record, context = yield(FINISHED, true, handler(record, context))
  end
end

-- Where the loop looks at no yield, somebody may resume the inner coroutine itself: then the body,
-- which has yielded to the loop, goes on from here, and this coroutine is not for another record.
local function handle_resumed(self, outer, ...)
  if self.resumed == outer then return yield(FINISHED, true, ...) end
  local ok, problem = resume(outer, FINISHED, ...)
  if not ok then error(problem, 0) end -- main() does not raise
end

local function handle_free(self, outer)
  return function(handler, record, context)
    while handler do
      handler, record, context = handle_resumed(self, outer, handler(record, context))
    end
  end
end

local function next_or_end(self, which, ok, ...)
  if ok then return ... end
  self.core.abandon(which, text_of((...)))
  return false
end

-- next(), which raises when memory runs out: not through what waits around it.
local function protected_next(self, which, ...)
  return next_or_end(self, which, pcall(self.core.next, which, ...))
end

local function gone_back(self, before, ...)
  self.resumed = before
  return ...
end

local function resume_inner(self, inner, ...)
  if not self.free then return resume(inner, ...) end
  local before = self.resumed
  self.resumed = running()
  return gone_back(self, before, resume(inner, ...))
end

local settle

-- The loop has resumed the body, or the inner coroutine has, at its handler's end.
local function settle_free(self, which, inner, first, ...)
  if first ~= FINISHED then
    return settle(self, which, inner, resume_inner(self, inner, first, ...))
  end
  self.spoilt = true
  return protected_next(self, which, true, ...)
end

-- What the inner coroutine did; passes on what it waits for. 'spoilt': it is not for another record;
-- read before anything yields. -> what next() gave
function settle(self, which, inner, ok, first, ...)
  self.spoilt = not ok or first ~= FINISHED
  if not ok then
    return protected_next(self, which, false, self.core.traceback(first, inner))
  elseif first == FINISHED then
    return protected_next(self, which, ...)
  elseif self.free then
    return settle_free(self, which, inner, yield(first, ...))
  elseif first == self.marker then
    return settle(self, which, inner, resume(inner, yield(first, ...)))
  end
  return protected_next(self, which, nil)
end

local function new_handling(self, which, number)
  local outer = running()
  local inner = new_inner(self, which, number, self.free and handle_free(self, outer) or handle)
  if self.free then adapters.outer[inner] = outer end
  return inner
end

local function run_in_turns(self, which, number)
  local inner, waiter
  local handler, record, context = protected_next(self, which)
  while handler ~= false do
    if handler then
      inner = inner or new_handling(self, which, number)
      handler, record, context = settle(self, which, inner,
        resume_inner(self, inner, handler, record, context))
      if self.spoilt then inner = nil end
    else
      waiter = self.park(number, waiter)
      handler, record, context = protected_next(self, which)
    end
  end
end

-- Main ------------------------------------------------------------------------

-- Where it was about to park, the adapter has raised.
local function abandon(self, which, number, problem)
  self.core.abandon(which, problem)
  if not self.parked[number] then return end
  self.parked[number] = nil
  adapters.tell(self.owner, "sleep raised: " .. problem)
end

-- -> what a body's coroutine does, with the body and what comes second. Under a loop nothing escapes
-- it: what waits around it may be the user's. Else what it raises is told by who resumes it.
function body.main(self)
  local core = self.core
  if not DIRECT then
    return function(which, number) run_in_turns(self, which, number) end
  elseif core.run and not self.adapter then
    return core.run, self.park
  end
  local calms = self.adapter and self.adapter.calm
  local run = self.relays and run_relayed or calms and run_calmed or run_directly
  return function(which, number)
    local ok, problem
    if calms or not core.run then ok, problem = xpcall(run, core.unhook, self, which, number)
    elseif self.relays then
      local relayed = core.relay(which, self.marker, self.park, self.coroutines, core.run)
      ok, problem = xpcall(relayed, core.unhook)
    else ok, problem = xpcall(core.run, core.unhook, which, self.park) end
    if not ok then abandon(self, which, number, text_of(problem)) end
  end
end

return body
