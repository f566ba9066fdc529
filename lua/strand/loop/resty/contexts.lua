-- contexts.lua: light threads of nginx that run handlers, in contexts of a few
--
-- nginx makes a context for each timer, and what a light thread opens belongs to the one that it
-- lives in. One with thousands of threads is slow to search for each socket that closes, so there
-- are many small ones; and a context keeps something of each thread that it ever had, so each is
-- given up for a new one when it is old:
--
--   spawn --> a context with room, or a new one --(its timer starts)--> entry thread spawns
--   look, once a second --> an old one is retired --> its threads leave after their record --> it ends
--
-- Only the entry thread of a context can spawn and kill in it; others ask it by its bell.
-- ngx.exit() in any thread of a context ends all of them, and says nothing: so each is called before
-- a look, and who does not answer was ended. (The status of a coroutine does not say it: nginx gives
-- one that has ended to the next request.)
--
-- There are no more of them than need() says: those that its threads fill, and SPARE and one more in
-- so many for those that are retired, and may not end for long.

local guard = require "strand.loop.resty.guard"
local semaphore = require "ngx.semaphore"

local contexts = {}
contexts.__index = contexts

local end_context = ngx.exit -- the real one: this is loaded before guard.lua is installed

local MOST = 64 -- threads in one context
local RETIRED_PART = 8 -- of one in so many it is waited at once that they end
local SPARE = 1 -- and of one more, but not if it is only old
local START = 1 -- seconds for a timer
local FOREVER = 2147483.647 -- the longest time that nginx waits

contexts.FOREVER = FOREVER
contexts.AGE = 60 -- seconds, until one is given up
contexts.KILLED_MOST = 16 -- threads killed in one, whose sockets live until it ends
contexts.KILLED_TOLD = 128 -- in one that is not given up: handlers that never end hold those that were

local CONTEXT_ENDED = "the nginx context of the handler was ended, by ngx.exit() or the like: "
  .. "those of all handlers in it have failed"
local THREAD_ENDED = "nginx has ended the light thread of the handler: its error.log says why"

-- -> those that so many threads fill, those that may be retired beside them
local function parts(threads)
  local full = math.ceil(threads / MOST)
  return full, full > 0 and math.ceil(full / RETIRED_PART) + SPARE or 0
end

-- How many contexts run at most, for so many threads.
function contexts.need(threads)
  local full, spare = parts(threads)
  return full + spare
end

-- For so many threads; 'tell(reason)' hears what goes wrong.
function contexts.new(threads, tell)
  local full, spare = parts(threads)
  return setmetatable({ tell = tell, list = {}, last = nil, most = full + spare, spare = spare },
    contexts)
end

-- In the context ------------------------------------------------------------------

local function gone(context, handle)
  if context.handles[handle] == nil then return end
  context.handles[handle] = nil
  context.count = context.count - 1
  if context.count == 0 then context.bell:post() end
end

local function spawn(context, handle)
  local ok, thread = pcall(ngx.thread.spawn, function()
    guard.mark_thread(handle.leave)
    handle.body()
    gone(context, handle)
  end)
  if ok then
    handle.thread = thread
  elseif context.handles[handle] then
    gone(context, handle)
    handle.leave("no light thread: " .. tostring(thread))
  end
end

-- What cannot be killed now, since nginx waits for it, is asked for again at the next look.
local function kill(context, handle)
  local reason, still = handle.reason, handle.still
  handle.reason, handle.still = nil, nil
  if context.handles[handle] == nil or not handle.thread or still and not still() then return end
  if not ngx.thread.kill(handle.thread) then return end
  context.killed = context.killed + 1
  context.given_up = context.given_up or handle.given_up
  gone(context, handle)
  handle.leave(reason)
end

local function live(self, context)
  guard.mark()
  context.begun = true
  while context.count > 0 do
    context.answered = true
    local queue = context.queue
    if #queue == 0 then
      context.bell:wait(FOREVER)
    else
      context.queue = {}
      for _, item in ipairs(queue) do item.act(context, item.handle) end
    end
  end
  self.list[context] = nil
  if context.given_up then end_context(ngx.OK) end
end

local function ask(context, act, handle)
  context.queue[#context.queue + 1] = { act = act, handle = handle }
  context.bell:post()
end

-- From outside --------------------------------------------------------------------

local function open(self)
  local context = { queue = {}, handles = {}, count = 0, killed = 0, retired = false, given_up = false,
    begun = false, answered = true, asked = ngx.now(), bell = assert(semaphore.new(0)) }
  assert(ngx.timer.at(0, function() live(self, context) end))
  self.list[context] = true
  return context
end

local function is_spent(context) return context.killed >= contexts.KILLED_MOST end

local function has_room(context)
  return not context.retired and context.count < MOST and not (context.begun and context.count == 0)
end

-- One that is spent only where there may be no more of them.
local function find_room(self)
  local count, spent = 0, nil
  for context in pairs(self.list) do
    count = count + 1
    if has_room(context) then
      if not is_spent(context) then return context end
      spent = context
    end
  end
  return count >= self.most and spent or nil
end

-- The one that the last found room in, mostly.
local function with_room(self)
  local last = self.last
  if not (last and self.list[last] and has_room(last)) or is_spent(last) then
    self.last = find_room(self) or open(self)
  end
  return self.last
end

-- body() in a new light thread, later. leave() is called to have it end when it can; leave(problem)
-- when it was ended. -> handle
function contexts:spawn(body, leave)
  local context = with_room(self)
  local handle = { body = body, leave = leave, context = context, thread = false }
  context.handles[handle] = true
  context.count = context.count + 1
  ask(context, spawn, handle)
  return handle
end

-- It is killed soon, for that reason; what it has open lives until its context ends. 'still()', if it
-- is given, is asked whether the reason still holds then.
function contexts.cancel(handle, reason, still)
  if handle.reason then return end
  handle.reason, handle.still = reason, still
  ask(handle.context, kill, handle)
end

-- Where one had to be killed its context ends after that, with the threads that handlers have
-- spawned: nobody else could kill those.
function contexts:cancel_all(reason)
  for context in pairs(self.list) do
    for handle in pairs(context.handles) do
      handle.given_up = true
      contexts.cancel(handle, reason)
    end
  end
end

-- Looking --------------------------------------------------------------------------

-- What one of them raises keeps no other from being told.
local function lose(self, context, problem)
  local handles, ok, raised = context.handles, true, nil
  self.list[context] = nil
  context.handles, context.count = {}, 0
  for handle in pairs(handles) do
    local left, why = pcall(handle.leave, problem)
    if not left then ok, raised = false, why end
  end
  if not ok then error(raised, 0) end
end

local function not_started(self, context)
  self.tell(("a timer for %d handlers has not started within %d s: lua_max_running_timers or "
    .. "worker_connections is too small (%d timers run)"):format(context.count, START,
    ngx.timer.running_count()))
  context.retired = true -- should it start yet
  lose(self, context, "its timer has not started")
end

local function retired_in(self)
  local count = 0
  for context in pairs(self.list) do
    if context.retired then count = count + 1 end
  end
  return count
end

local function retire(context)
  context.retired = true
  for handle in pairs(context.handles) do handle.leave() end
end

-- There is no bound to it then.
local function tell_of_killed(self, context)
  self.tell(("%d handlers were killed in a context that cannot be given up: handlers that do not end "
    .. "hold those that were, and what nginx keeps of the killed grows"):format(context.killed))
  context.tell_at = 2 * context.killed
end

local function retire_some(self)
  local now, retired = ngx.now(), retired_in(self)
  for context in pairs(self.list) do
    local old = now - context.asked >= contexts.AGE and retired + SPARE < self.spare
    if not context.retired and retired < self.spare and (old or is_spent(context)) then
      retired = retired + 1
      retire(context)
    elseif not context.retired and context.killed >= (context.tell_at or contexts.KILLED_TOLD) then
      tell_of_killed(self, context)
    end
  end
end

-- Each that lives answers as soon as its bell comes up, in whatever time: before what is rung after it.
function contexts:call()
  for context in pairs(self.list) do
    if context.begun then
      context.answered = false
      context.bell:post()
    end
  end
end

-- One that has ended by itself is not among them. While its context lives nginx gives its Lua thread to
-- nobody.
local function look_at_threads(context)
  for handle in pairs(context.handles) do
    local status = handle.thread and coroutine.status(handle.thread)
    if status == "zombie" or status == "dead" then
      gone(context, handle)
      handle.leave(THREAD_ENDED)
    end
  end
end

-- Once a second, after whoever was called has had time to answer.
function contexts:look()
  local now = ngx.now()
  for context in pairs(self.list) do
    if not context.begun then
      if now - context.asked >= START then not_started(self, context) end
    elseif not context.answered then
      self.tell(CONTEXT_ENDED)
      lose(self, context, CONTEXT_ENDED)
    else
      look_at_threads(context)
    end
  end
  retire_some(self)
end

function contexts:is_empty() return next(self.list) == nil end

return contexts
