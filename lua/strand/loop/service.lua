-- service.lua: an object of strand that an event loop serves
--
-- One coroutine of the loop waits for the object's descriptor, and serves in each turn what is
-- due: callbacks, the steps of a close. Methods that wait park the coroutine that called them,
-- and are woken by it:
--
--   object:fd() -> serving coroutine -> turn -> wake -> methods that wait
--
-- 'unserved' is why nobody serves it for now, which health() gives; or nil.
--
-- What a class has for it stands in its metatable, as 'serving':
--
--   start(object) -> true | nil, message, code     may be absent: nothing is to be started
--   attach(object) -> true | nil, message, code    may be absent: object.loop is there now
--   turn(object) -> number served                  does not wait, and does not yield
--   is_over(object)                                its last turn was made
--   on_exit(object, seconds | nil)                 the loop has ended before it: it closes, in so
--                                                  many seconds
--   hasten, settle, let_go(object, seconds)        may be absent: steps before that (ending.lua)
--   quit(object, timeout)                          may be absent: nginx's worker is to end, and the
--                                                  loop goes on until it has
--   is_busy(object) -> boolean                     with 'quit': something is still to be served
--
-- The serving coroutine keeps the object until it is closed: one that is forgotten goes on.

local core = require "strand.core"
local adapter_of = require "strand.loop.adapter"
local schema = require "strand.schema"

local service = {}
service.__index = service

local WATCH = 1 -- seconds after which who waits looks whether it is served
local BACKOFF = 1 -- seconds, after an adapter has raised
local IDLE_TURNS, PAUSE = 16, 0.01 -- turns for nothing in a row, and seconds until the next
local ROOM_AT_ONCE = 64 -- of those that wait for room in a queue, in one turn

-- As pcall, where that can be yielded across; else without protection.
local function guard(f, ...)
  if adapter_of.yields_across_pcall then return pcall(f, ...) end
  return true, f(...)
end
service.guard = guard

-- The adapter's faults ------------------------------------------------------

function service:tell(reason) adapter_of.tell(self.object, reason) end

local function tell_raised(self, name, problem)
  self:tell(("%s raised: %s"):format(name, tostring(problem)))
end

-- Waking --------------------------------------------------------------------

local function wake(self, waiter)
  local ok, problem = pcall(self.adapter.wake, waiter)
  if not ok then tell_raised(self, "wake", problem) end
end

-- Those that wait until something was served.
function service:wake_all()
  local waiters = self.waiters
  if next(waiters) == nil then return 0 end
  self.waiters = {}
  local count = 0
  for waiter in pairs(waiters) do
    count = count + 1
    wake(self, waiter)
  end
  return count
end

function service:add_reported(delivery)
  self.reported[#self.reported + 1] = delivery
end

-- Those that wait for reports which have come: C has put these into the list.
function service:wake_reported()
  local reported, count = self.reported, 0
  for i = 1, #reported do
    local delivery = reported[i]
    reported[i] = nil
    for waiter in pairs(delivery.waiters) do
      count = count + 1
      wake(self, waiter)
    end
  end
  return count
end

-- As many as there may be room for; who has found some wakes the next.
function service:wake_for_room(most)
  local count = 0
  while count < most and self.room_first <= self.room_last do
    local waiter = self.room[self.room_first]
    self.room[self.room_first] = nil
    self.room_first = self.room_first + 1
    if waiter then
      count = count + 1
      wake(self, waiter)
    end
  end
  return count
end

-- A turn --------------------------------------------------------------------

-- What a turn raises is lack of memory, or a fault of ours: the loop goes on.
local function log_failed(self, problem)
  pcall(self.object.dispatcher.log, self.object.dispatcher, 3, "loop",
    "error while the event loop served: " .. tostring(problem))
end

-- -> how much it did
local function turn(self)
  if self.turning then return 0 end
  self.turning = true
  local ok, count = pcall(self.serving.turn, self.object)
  self.turning = false
  self.turns = self.turns + 1
  if not ok then
    log_failed(self, count)
    count = 0
  end
  return count + self:wake_all() + self:wake_reported() + self:wake_for_room(ROOM_AT_ONCE)
end

-- Serving -------------------------------------------------------------------

-- -> false: it cannot be waited at all
local function wait_readable(self, fd)
  local ok, problem = guard(self.adapter.wait_readable, fd)
  if ok then return true end
  tell_raised(self, "wait_readable", problem)
  turn(self)
  ok, problem = guard(self.adapter.sleep, BACKOFF)
  if not ok then tell_raised(self, "sleep", problem) end
  return ok
end

-- Whether a coroutine waits in a method. One that nginx has ended does not come back, nor tell.
local function is_awaited(self)
  local now = core.now()
  for _, due in pairs(self.sleepers) do
    if now < due then return true end
  end
  return false
end

-- The worker of nginx is to end, nobody waits, and there is nothing to serve, or no time left for it.
local function may_rest(self)
  if not self.quits_at or is_awaited(self) then return false end
  return core.now() >= self.quits_at or not self.serving.is_busy(self.object)
end

local function is_over(self)
  return self.leaving or self.object.core:state() == "forked" or self.serving.is_over(self.object)
end

-- A descriptor that is readable with nothing to serve must not have the loop turn for it.
local function calm(self, count)
  self.idle = count > 0 and 0 or self.idle + 1
  if self.idle < IDLE_TURNS then return end
  guard(self.adapter.sleep, PAUSE)
end

local function serve(self)
  while not (is_over(self) or may_rest(self)) do
    local fd = self.object.core:fd()
    if not fd or not wait_readable(self, fd) then break end
    if is_over(self) then break end
    if self.quits_at then self.object.dispatcher:nudge(false) end
    calm(self, turn(self))
  end
end

-- Whoever waits later has the body begun again, and so has attend().
local function rest(self)
  self.serves, self.resting = false, true
  self.object.dispatcher:nudge(false)
end

local function body(self)
  if self.serves then return self:tell "spawn ran the body twice" end
  self.serves, self.unserved = true, nil
  serve(self)
  if may_rest(self) and not is_over(self) then rest(self) else self.gone = true end
  self:wake_all()
end

local function begin_body(self)
  return pcall(self.adapter.serve or self.adapter.spawn, function() body(self) end)
end

local function serve_again(self)
  local ok, problem = begin_body(self)
  if ok then self.resting = false else tell_raised(self, "spawn", problem) end
end

-- Its body was ended from outside.
function service:serve_anew(reason)
  self.serves, self.unserved = false, reason
  serve_again(self)
end

-- There is something to serve, and nobody waits for it.
function service:attend()
  if self.resting and core.now() < self.quits_at then serve_again(self) end
end

-- Waiting -------------------------------------------------------------------

-- -> why the running coroutine cannot wait here | nil: it can
function service:refusal()
  if self.quits_at and core.now() >= self.quits_at then
    return "it would wait, and nginx's worker is at its end"
  end
  if not adapter_of.can_yield() then
    return "it would wait, and cannot yield here: call it in a coroutine of the event loop"
  end
  local alive = self.adapter.alive
  if alive and not alive() then
    return "it would wait, and this is no coroutine of the event loop"
  end
end

-- Who waits looks whether anybody serves, and serves once if not. Not when it first sees that: the
-- loop itself may have been busy for so long, and has its turn before this one sees it again.
local function watch(self, turns, slept)
  if slept < WATCH or self.turns ~= turns or self.turning then return end
  local fd = self.object.core:fd()
  if not fd or core.wait({ fd }, 0) == 0 then return end
  local who = coroutine.running() or self
  if self.suspects[who] ~= turns then
    self.suspects[who] = turns
    return
  end
  if not self.told then
    self.told = true
    self:tell(self.serves and "wait_readable does not return, though the descriptor is readable"
      or "spawn has not run the body")
  end
  turn(self)
end

local function sleep(self, seconds, waiter)
  if self.resting then serve_again(self) end
  local turns, began = self.turns, core.now()
  self.sleepers[waiter] = began + seconds
  local ok, problem = guard(self.adapter.sleep, seconds, waiter)
  self.sleepers[waiter] = nil
  if may_rest(self) then self.object.dispatcher:nudge(true) end
  if not ok then
    tell_raised(self, "sleep", problem)
    error(problem, 0)
  end
  watch(self, turns, core.now() - began)
end

local function new_waiter(self)
  return { failed = self.failed }
end

-- Until something was served, at most 'timeout' seconds (nil: none); or for no reason.
function service:await(timeout)
  local waiter = new_waiter(self)
  self.waiters[waiter] = true
  sleep(self, math.min(timeout or WATCH, WATCH), waiter)
  self.waiters[waiter] = nil
end

-- Until the report of a delivery has come, at most so long; or for no reason.
function service:await_report(delivery, timeout)
  local waiter = new_waiter(self)
  delivery.waiters = delivery.waiters or {}
  delivery.waiters[waiter] = true
  sleep(self, timeout, waiter)
  delivery.waiters[waiter] = nil
end

-- Until there may be room in the queue, at most so long. First come, first served.
function service:await_room(timeout)
  local waiter, place = new_waiter(self), self.room_last + 1
  self.room_last, self.room[place] = place, waiter
  sleep(self, timeout, waiter)
  if self.room[place] == waiter then self.room[place] = false end
end

-- The serving coroutine ends, before the descriptor does. Waits for that.
function service:leave()
  self.leaving = true
  self.object.dispatcher:nudge(true)
  while self.serves and not self.gone do self:await() end
  self.object.dispatcher:nudge(false)
end

-- Each that waits is to come back soon, and waits on: who does not was ended, and counts no longer.
local function call_sleepers(self)
  local due = core.now() + WATCH
  for waiter, at in pairs(self.sleepers) do
    if at > due then
      self.sleepers[waiter] = due
      wake(self, waiter)
    end
  end
end

-- nginx's worker is to end, and does when nobody of it waits: so from now on it is served for those
-- that wait, and for what is to be served, that at most so many seconds. To be called again each
-- second.
function service:quit(seconds)
  self.quits_at = self.quits_at or core.now() + seconds
  call_sleepers(self)
  if may_rest(self) then self.object.dispatcher:nudge(true) end
end

-- As pcall, and what is raised goes to the log.
function service:try(what, f, ...)
  local ok, problem = guard(f, ...)
  if not ok then log_failed(self, what .. ": " .. tostring(problem)) end
end

-- f() in a coroutine of the loop. Raises where the adapter does.
function service:spawn(f)
  local ok, problem = pcall(self.adapter.spawn, f)
  if ok then return end
  tell_raised(self, "spawn", problem)
  error(problem, 0)
end

-- Starting ------------------------------------------------------------------

local function serving_of(object)
  local metatable = type(object) == "table" and getmetatable(object)
  local serving = type(metatable) == "table" and metatable.serving
  if serving then return serving end
  schema.raise("argument 'object': consumer, producer or admin expected, got "
    .. schema.describe(object))
end

local function refuse(object, serving)
  local state = object.core:state()
  if state == "closed" or object.closing or object.result then
    schema.raise(("attempt to use a closed %s"):format(serving.noun))
  elseif object.loop then
    schema.raise(("the %s is served by an event loop already"):format(serving.noun))
  end
end

local function new(object, adapter, serving)
  local self = setmetatable({ object = object, adapter = adapter, serving = serving, waiters = {},
    reported = {}, room = {}, room_first = 1, room_last = 0, turns = 0, idle = 0,
    sleepers = setmetatable({}, { __mode = "k" }), -- when each is back
    suspects = setmetatable({}, { __mode = "k" }) }, service)
  self.failed = function(problem)
    pcall(object.dispatcher.log, object.dispatcher, 3, "loop",
      "error in a coroutine that had waited: " .. problem)
  end
  return self
end

-- -> true | nil, message, code
local function begin(self)
  local ok, problem = begin_body(self)
  if not ok then
    self.object.loop, self.object.adapter = nil, nil
    return nil, "the event loop's adapter: spawn raised: " .. tostring(problem), "ADAPTER"
  end
  local on_exit = self.adapter.on_exit
  if on_exit then on_exit(function() self.serving.on_exit(self.object) end) end
  return true
end

local function attach(object, adapter, serving)
  object.loop, object.adapter = new(object, adapter, serving), adapter
  object.dispatcher:serve_in_slices()
  local ok, message, code = true, nil, nil
  if serving.attach then ok, message, code = serving.attach(object) end
  if ok then return object.loop end
  object.loop, object.adapter = nil, nil
  return nil, message, code
end

-- Before the loop runs nothing is held up by waiting here, and nobody would wake us. Handlers of
-- local mode are the adapter's from the first on.
local function start_before(object, adapter, serving)
  object.adapter = adapter
  if serving.start then
    local ok, message, code = serving.start(object)
    if not ok then return nil, message, code end
  end
  local self, message, code = attach(object, adapter, serving)
  if not self then return nil, message, code end
  return begin(self)
end

local function start_within(object, adapter, serving)
  local refusal = serving.start and new(object, adapter, serving):refusal()
  if refusal then return nil, "start: " .. refusal, "CANNOT_WAIT" end
  local self, message, code = attach(object, adapter, serving)
  if not self then return nil, message, code end
  local ok
  ok, message, code = begin(self)
  if not ok or not serving.start then return ok, message, code end
  return serving.start(object)
end

-- Raises what start() would.
function service.check(object) refuse(object, serving_of(object)) end

-- 'outside': the loop does not run now. -> true | nil, message, code
function service.start(object, adapter, outside)
  local serving = serving_of(object)
  if object.core:state() == "forked" then
    return nil, ("the %s belongs to the process that opened it"):format(serving.noun), "FORKED"
  end
  refuse(object, serving)
  if outside then
    return start_before(object, adapter, serving)
  end
  return start_within(object, adapter, serving)
end

return service
