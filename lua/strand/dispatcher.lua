-- dispatcher.lua: from a core object to the user's callbacks
--
-- The C side calls no Lua by itself. Whoever waits on a core object takes
-- what it has ready, events, log lines, requests for a token, delivery
-- reports, and hands it to the callbacks here, in the caller's state. A
-- callback may call methods that wait, and so come here again: then what
-- arrives is kept, and delivered when the callback has returned.
--
--   core -> collect -> queue -> dispatch -> on_event, log, on_delivery
--
-- Delivery reports are many: C calls on_delivery for them without the queue,
-- unless a callback runs.
--
-- A callback that raises loses nothing but its own call: the error goes to
-- the log. Where memory runs out in here, that is raised, and nothing is lost:
-- what is made for an item is made before it is taken from the core, and an
-- item stays in the queue until its callback is entered.
--
-- A callback cannot yield: it is called through C, where every Lua makes an
-- error of that. Else a coroutine that nobody resumes would keep the queue.

local text = require "strand.text"

local strand_core = require "strand.core"

local call = strand_core.call

-- Nearly each line calls C, where compiled code ends: LuaJIT makes thousands of pieces of these
-- functions, and goes on for millions of records, at more than a KB each. They run once for many
-- records, and are no faster compiled.
if rawget(_G, "jit") then require("jit").off(true, true) end

local dispatcher = {}
dispatcher.__index = dispatcher

local ERROR, WARNING = 3, 4

-- Events and log lines that are kept while a callback waits. What is more stays in the core, whose
-- rings are bounded and count what they drop.
local KEPT_MOST = 1000

-- In the form of the lines that C writes.
local function write_log(level, facility, message)
  if level > WARNING then return end
  io.stderr:write(("%s strand %s: %s: %s\n"):format(os.date "!%Y-%m-%dT%H:%M:%SZ",
    level < WARNING and "error" or "warning", facility, message))
end

-- A callback may raise anything, also what raises when it is made text.
local function text_of(problem)
  local ok, shown = call(nil, tostring, problem)
  return ok and type(shown) == "string" and shown or "a " .. type(problem)
end

-- What came while a callback waited, or stands behind one that raised, waits for the next serve():
-- fd is readable for it, but not to a callback that waits, which cannot have it. The core counts
-- the reports among it: they are bounded. And while no more events and lines are taken, fd is not
-- readable for those.
local function is_full(self)
  return self.dispatching and self.last - self.first + 1 - self.reports >= KEPT_MOST
end

local function tell_kept(self, reports)
  local kept = self.nudged or not self.dispatching and self.first <= self.last
  local full = is_full(self)
  reports = reports or self.reports
  if kept == self.kept and reports == self.told and full == self.full then return end
  self.core:keep(kept, reports, full)
  self.kept, self.told, self.full = kept, reports, full
end

-- The first item, out of the queue; allocates nothing.
local function take(self)
  local item = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  if item[1] == "on_delivery" then self.reports = self.reports - 1 end
  return item
end

-- 'callbacks': on_event, log, oauth_token, on_delivery, each or nil.
-- 'deliveries': of a producer, those that are waited for, by their ids.
function dispatcher.new(core, callbacks, deliveries)
  local self = setmetatable({
    core = core, callbacks = callbacks, deliveries = deliveries, first = 1, last = 0,
    dispatching = false, answering = false, kept = false, finishing = false, nudged = false,
    reports = 0, told = 0, full = false, -- in the queue; and what the core knows of that
  }, dispatcher)
  -- Made once, and not for each call: there might be no memory for it then.
  self.enter = function()
    local item = take(self)
    callbacks[item[1]](item[2])
  end
  self.enter_log = function()
    local item = take(self)
    callbacks.log(item[2], item[3], item[4])
  end
  self.next_delivery = deliveries and function()
    return core:next_delivery(deliveries, text.delivery_report)
  end
  return self
end

local function no_fd() end

-- Of an object that has a log and nothing else; keep(kept): makes its fd readable, or is absent.
function dispatcher.of_log(core, log, keep)
  return dispatcher.new({ next_log = function() return core:next_log() end,
    keep = keep and function(_, kept) keep(kept) end or no_fd }, { log = log })
end

local function log_failed(problem, level, facility, message)
  write_log(ERROR, "log", "error in log: " .. text_of(problem))
  write_log(level, facility, message)
end

-- For a callback, which is called by who serves next.
local function put(self, name, value, facility, message)
  self[self.last + 1] = { name, value, facility, message }
  self.last = self.last + 1
  tell_kept(self)
end

-- A line for the callback 'log', later; it is written now where there is none, or no room.
function dispatcher:log_later(level, facility, message)
  if not self.callbacks.log or is_full(self) then return write_log(level, facility, message) end
  put(self, "log", level, facility, message)
end

-- An event of the Lua side.
function dispatcher:tell(event)
  event = text.event(event)
  if not self.callbacks.on_event then
    return self:log_later(WARNING, "loop", event.reason)
  end
  if not is_full(self) then put(self, "on_event", event, false, false) end
end

function dispatcher:log(level, facility, message)
  local log = self.callbacks.log
  if not log then return write_log(level, facility, message) end
  local ok, problem = call(nil, log, level, facility, message)
  if not ok then log_failed(problem, level, facility, message) end
end

local function traceback(problem)
  if type(problem) ~= "string" then return problem end
  return debug.traceback(problem, 2)
end

local function call_log(self, item)
  if not self.callbacks.log then
    take(self)
    return write_log(item[2], item[3], item[4])
  end
  local ok, problem = call(nil, self.enter_log)
  if not ok then log_failed(problem, item[2], item[3], item[4]) end
end

local function say_failed(self, name, problem)
  self:log(ERROR, name, ("error in %s: %s"):format(name, text_of(problem)))
end

-- The callback of the first item in the queue.
local function call_first(self)
  local item = self[self.first]
  local name = item[1]
  if name == "log" then return call_log(self, item) end
  if not self.callbacks[name] then return take(self) end
  if name == "on_delivery" then tell_kept(self, self.reports - 1) end
  local ok, problem = call(traceback, self.enter)
  if not ok then say_failed(self, name, problem) end
end

-- Tokens --------------------------------------------------------------------

local LAST_TIME = 2 ^ 53 / 1000 -- in milliseconds still a whole number

local function token_problem(token, expires, principal)
  if token == nil and type(expires) == "string" then return expires end
  if type(token) ~= "string" or token == "" then
    return "oauth_token returned no token"
  elseif type(expires) ~= "number" or not (expires >= 0 and expires <= LAST_TIME) then
    return "oauth_token returned no time of expiry beside the token"
  elseif principal ~= nil and type(principal) ~= "string" then
    return "oauth_token returned a principal that is no string"
  elseif (token .. (principal or "")):find("\0", 1, true) then
    return "oauth_token returned a token or principal with a zero byte"
  end
end

-- The user's function, called for 'core'. -> problem | nil
function dispatcher.give_token(core, oauth_token)
  local ok, token, expires, principal = call(nil, oauth_token)
  local problem
  if not ok then
    problem = "error in oauth_token: " .. text_of(token)
  else
    problem = token_problem(token, expires, principal)
  end
  if problem then return problem end
  ok, problem = core:oauth_set(token, expires, principal or "")
  if not ok then return problem end
end

-- librdkafka asks again by itself after a failure.
function dispatcher:answer_token_request()
  local problem = dispatcher.give_token(self.core, self.callbacks.oauth_token)
  if problem then self.core:oauth_fail(problem) end
end

-- Serving -------------------------------------------------------------------

-- In an event loop: what takes longer than a slice is left for the next turn, which fd is
-- readable for.
local SLICE = 0.002 -- seconds
local FEW = 32 -- delivery reports between two looks at the clock

function dispatcher:serve_in_slices() self.slice = SLICE end

local function slice_end(self)
  return self.slice and strand_core.now() + self.slice or math.huge
end

local function is_over(self, limit)
  return self.slice and not self.finishing and strand_core.now() >= limit
end

-- The place behind the last item, { name, up to three values }.
local function place(self)
  local at = self.last + 1
  if not self[at] then self[at] = { false, false, false, false } end
  return self[at]
end

-- All that next(core) gives, for the callback of this name. 'shown' sets a
-- metatable, and allocates nothing.
local function collect(self, name, next, shown)
  while next and (name == "on_delivery" or not is_full(self)) do
    local item = place(self)
    local value, facility, message = next(self.core)
    if value == nil then return end
    if shown then value = shown(value) end
    item[1], item[2], item[3], item[4] = name, value, facility, message
    self.last = self.last + 1
    if name == "on_delivery" then self.reports = self.reports + 1 end
  end
end

local function collect_told(self)
  collect(self, "log", self.core.next_log)
  collect(self, "on_event", self.core.next_event, text.event)
end

-- Only what is there now: a callback whose calls make events could keep it
-- going for ever. But a callback that closes the object gets the last of it.
local function call_all(self)
  local last, limit = self.last, slice_end(self)
  self.dispatching = true
  tell_kept(self)
  while self.first <= (self.finishing and self.last or last) do
    call_first(self)
    if self.finishing then collect_told(self) end -- there is room for what was left
    if is_over(self, limit) then return end
  end
end

-- -> number of calls made
local function dispatch(self)
  local first = self.first
  local ok, problem = pcall(call_all, self)
  self.dispatching = false
  tell_kept(self)
  if not ok then error(problem, 0) end
  return self.first - first
end

-- No more of them than there can be now; the one beyond shows that none is left,
-- and then fd is not readable for them.
local function call_deliveries(self)
  local outstanding, untaken = self.core:outstanding()
  local left, count, limit = outstanding + untaken + 1, 0, slice_end(self)
  self.dispatching = true
  repeat
    local most = self.slice and not self.finishing and math.min(left, FEW) or left
    local served, problem, handed = self.core:deliver(self.deliveries, text.delivery_report,
      self.callbacks.on_delivery, traceback, most)
    left, count = left - served - handed, count + served
    if problem ~= nil then say_failed(self, "on_delivery", problem) end
    local all = problem == nil and served + handed < most
  until all or left <= 0 or is_over(self, limit)
  return count
end

-- Delivery reports. Those that come while a callback runs are kept, and what is
-- kept goes first. -> number of calls made
local function deliver(self)
  if self.dispatching then
    collect(self, "on_delivery", self.next_delivery)
    tell_kept(self)
    return 0
  end
  local ok, count = pcall(call_deliveries, self)
  self.dispatching = false
  local closed_in_one = self.finishing and self:pending() and dispatch(self) or 0
  tell_kept(self)
  if not ok then error(count, 0) end
  return count + closed_in_one
end

-- The request stands, but does not wake a callback that waits, and comes here again.
local function answer(self)
  self.answering = true
  self.core:oauth_answering(true)
  self:answer_token_request()
end

-- A request stands until it is answered, so it is.
local function answer_token(self)
  local ok, problem = pcall(answer, self)
  self.answering = false
  self.core:oauth_answering(false)
  if ok then return end
  self.core:oauth_fail "the request for a token could not be answered"
  error(problem, 0)
end

-- Whether something was kept that serve() can deliver.
function dispatcher:pending()
  return not self.dispatching and self.first <= self.last
end

-- Everything that is ready now, never waiting. -> number of calls made
function dispatcher:serve()
  local count = 0
  if self.callbacks.oauth_token and not self.answering and self.core:oauth_needed() then
    answer_token(self)
    count = 1
  end
  collect_told(self)
  tell_kept(self)
  if self:pending() then count = count + dispatch(self) end
  if not self.deliveries then return count end
  return count + deliver(self)
end

-- The delivery reports alone, and calls nobody: those for on_delivery wait.
function dispatcher:gather()
  collect(self, "on_delivery", self.next_delivery)
  tell_kept(self)
end

-- fd is readable as long as it is on.
function dispatcher:nudge(on)
  self.nudged = on
  tell_kept(self)
end

-- The object is closed, and nobody serves it after this.
function dispatcher:finish()
  self.finishing = true
  return self:serve()
end

return dispatcher
