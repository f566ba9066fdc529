-- bodies.lua: local mode (workers = 0), where handlers run in the caller's state
--
-- A body is a coroutine that runs handlers, one record after another:
--
--   next(body, what the handler gave) -> the next handler, its record and context
--
-- C decides all else: which record is next, what its outcome means, who sleeps until when
-- (src/lua/local/body.h). Here coroutines are made, resumed, woken and forgotten. Without a loop
-- step() resumes them; with one (self.owner.adapter, lua/strand/loop) the loop does, and serve()
-- only says whom it is to wake.
--
-- What runs in that coroutine is in body.lua.
--
-- Used of strand.core: the table that core:local_open gives.
--   run relay next       what body.lua has of it (src/lua/local/run.h)
--   answer(number, serial, ...) -> true | nil, message, code    what done(...) does
--   body() -> body       enter(body, thread, number | nil, outer | nil)   its handlers run in that
--                        coroutine; 'outer': as long as that one has resumed it
--                        -> whether it is the first with a number
--   abandon(body, message)   something of ours raised in it
--   leave(body)          it takes no more records, and ends
--   serve() -> n, m, k   a turn begins: n bodies have not begun, m have not come: too late (C);
--                        k that were to begin, or to come, were collected
--   turn(yielded, problem) -> number | 0 | -number | nil    whom step resumes: a body, a new one;
--                        whom it forgets
--   wake(n) -> number | 0 | nil             whom the loop wakes, after n others in this turn
--   fail() -> whether it parks on           that raised
--   bare(route)          from 0: its handler takes no context, and next() gives nil for it
--   overdue() -> numbers   of bodies whose handlers have passed their deadline
--   holder(topic, partition, offset) -> number | 0 | nil    whose handler has that record
--   loop(tells)          a loop's from now on; true: next() gives nil, true where a slice is over,
--                        and the loop is to be told; recall(): it could not be
--   limit(n) halt() inside() count() finish()
--   defer(context) -> number, serial        check_sleep(context, seconds) raises
--   methods              of contexts        SLEEPS               see body.h
--   traceback unhook     message handlers, for which a hook that has raised goes

local adapters = require "strand.loop.adapter"
local body = require "strand.body"

local create, resume, running, status, yield = coroutine.create, coroutine.resume,
  coroutine.running, coroutine.status, coroutine.yield

local traceback_of = debug.traceback

local WARNING = 4

local DIRECT, text_of = body.direct, body.text_of

local bodies = {}
bodies.__index = bodies

-- Serving -----------------------------------------------------------------------

local function number_of(self)
  self.last = self.last + 1
  return self.last
end

-- What ends it in spite of main(): a handler has closed another's coroutine.
-- -> what it yielded | nil, what ended it
local function resume_one(self, number, ...)
  local thread = self.threads[number]
  local ok, yielded = resume(thread, ...)
  if status(thread) == "dead" then self.threads[number] = nil end
  if not ok then return nil, "the handler's coroutine was ended: " .. text_of(yielded) end
  return yielded
end

local function spawn(self)
  local number, thread = number_of(self), create(self.main)
  local which = self.core.body()
  self.core.enter(which, thread, number)
  self.threads[number], self.coroutines[number] = thread, thread
  return resume_one(self, number, which, self.second or number)
end

-- Resumes bodies until the slice is over, or there is no more to do. -> how many
local function serve_alone(self)
  local turn, count = self.core.turn, 0
  self.core.serve()
  local number, yielded, problem = turn(), nil, nil
  while number do
    if number > 0 then yielded, problem = resume_one(self, number)
    elseif number == 0 then yielded, problem = spawn(self)
    else self.threads[-number] = nil end
    count = count + 1
    number = turn(yielded, problem)
  end
  return count
end

-- In a coroutine of the loop's.
local function begin(self, which, number)
  local thread = running()
  local entered, first = pcall(self.core.enter, which, thread, number)
  if not entered then return self.core.abandon(which, text_of(first)) end
  if not first then return adapters.tell(self.owner, "spawn ran a body twice") end
  self.coroutines[number] = thread
  self.main(which, number)
end

-- What an adapter may call whose loop ends coroutines, or is to be rid of one: leave() has it end
-- when its handler has; leave(problem): it was ended, and its record has failed.
local function leave(self, number, which, problem)
  local waiter = self.parked[number]
  self.parked[number] = nil
  if problem == nil then self.core.leave(which) else self.core.abandon(which, problem) end
  if waiter then self.adapter.wake(waiter) end
end

-- What it does may raise, where memory runs out: before the body is there, whom C waits for.
-- -> nil | what the adapter has raised
local function spawn_in_loop(self)
  local number, which = number_of(self), nil
  local function run() return begin(self, which, number) end
  local function leaves(problem) return leave(self, number, which, problem) end
  which = self.core.body()
  local ok, spawned = pcall(self.adapter.spawn, run, leaves)
  if ok then
    self.handles[number] = spawned
    return
  end
  self.core.fail()
  return "spawn raised: " .. text_of(spawned)
end

-- The same.
local function wake_in_loop(self, number)
  local waiter = self.parked[number]
  self.parked[number] = nil
  local ok, problem = pcall(self.adapter.wake, waiter)
  if ok then return end
  if self.core.fail() then self.parked[number] = waiter end
  return "wake raised: " .. text_of(problem)
end

local function tell_late(self, spawned, woken, dropped)
  if spawned > 0 then
    adapters.tell(self.owner, ("spawn has not run a body for 2 s (%d of them)"):format(spawned))
  end
  if woken > 0 then
    adapters.tell(self.owner, ("wake has not ended a sleep for 2 s (%d of them)"):format(woken))
  end
  if dropped > 0 then
    adapters.tell(self.owner,
      ("a coroutine of handlers was dropped that spawn or wake was to run (%d of them)"):format(dropped))
  end
end

-- Wakes bodies for what there is to do. What the adapter raises is told once in a turn. -> how many
local function serve_loop(self)
  tell_late(self, self.core.serve())
  local count, number, problem = 0, self.core.wake(0), nil
  while number do
    local raised
    if number > 0 then raised = wake_in_loop(self, number)
    else raised = spawn_in_loop(self) end
    problem, count = problem or raised, count + 1
    number = self.core.wake(count)
  end
  if problem then adapters.tell(self.owner, problem) end
  return count
end

-- What a parked body waits by is kept here while it parks, and no longer: so one that its loop has
-- dropped is collected.
local function park_in_loop(self)
  return function(number, waiter)
    waiter = waiter or { number = number }
    self.parked[number] = waiter
    self.adapter.sleep(nil, waiter)
    self.parked[number] = nil
    return waiter
  end
end

-- The loop is to turn to us again, after others.
local function give_way(self)
  local fd = self.owner.core:fd()
  if not fd or not self.adapter.tell(fd) then self.core.recall() end
end

-- Bodies are made for the loop that there is when the first is.
local function settle_how(self)
  local adapter = self.owner.adapter
  self.settled, self.adapter = true, adapter
  self.marker = self.core.SLEEPS
  self.park = function() yield(self.marker) end
  if adapter then
    self.core.loop(adapter.tell ~= nil)
    self.marker, self.park = adapter.marker, park_in_loop(self)
    self.give_way = give_way
    self.relays, self.free = adapter.marker ~= nil, adapter.marker == nil
    function self.core.methods.sleep(context, seconds)
      self.core.check_sleep(context, seconds)
      adapter.sleep(seconds)
    end
  end
  self.main, self.second = body.main(self)
end

-- Whatever is due, as long as a slice is. A handler that comes here again by a method that waits
-- serves nobody. -> how many were resumed or woken
function bodies:serve()
  if self.serving or not self.loaded then return 0 end
  if not self.settled then settle_how(self) end
  self.serving = true
  local ok, count = pcall(self.adapter and serve_loop or serve_alone, self)
  self.serving = false
  if not ok then error(count, 0) end
  return count
end

--- Whether a handler of this consumer runs now, in this coroutine.
function bodies:inside()
  return self.serving and not self.adapter or self.core.inside()
end

-- Handlers ------------------------------------------------------------------------

local function fail(name, message, ...)
  error(("handler '%s': "):format(name) .. message:format(...), 0)
end

local function optional(module, name, key)
  local method = module[key]
  if method ~= nil and type(method) ~= "function" then
    fail(name, "'%s' of the module is a %s, function expected", key, type(method))
  end
  return method
end

local function handle_of(module, route)
  local key, other = "handle", "handle_batch"
  if route.batch then key, other = other, key end
  if type(module) == "function" then
    return module
  elseif type(module) ~= "table" then
    fail(route.name, "the module returns %s %s; a function, or a table with '%s', expected",
      type(module) == "boolean" and "nothing, or a" or "a", type(module), key)
  elseif type(module[key]) == "function" then
    return module[key]
  elseif module[other] ~= nil then
    fail(route.name, "the module has a '%s' and no '%s', which is called %s option 'batch'",
      other, key, route.batch and "with" or "without")
  end
  fail(route.name, "the module is a table without a function '%s'", key)
end

local function require_module(route)
  local ok, module = pcall(require, route.module)
  if not ok then fail(route.name, "%s", text_of(module)) end
  return module
end

-- Whether it can see a second argument, the context. Lua 5.1 does not say.
local function takes_context(handler)
  local info = debug.getinfo(handler, "u")
  return info.nparams == nil or info.isvararg or info.nparams > 1
end

-- What goes to the coroutine around one that has ended: well, or by an error which somebody else has
-- got.
local FINISHED, LOST = {}, {}

local function unheard(problem)
  return problem or "it raised after it had waited, and the error went to whoever had resumed it"
end

local step_inner

-- The loop has resumed the coroutine around it; or its own end has, FINISHED; or settle_call(), LOST.
local function step_on(self, call, first, ...)
  if first == FINISHED then return true end
  if first == LOST then return false, unheard((...)) end
  return step_inner(self, call, resume(call.inner, first, ...))
end

function step_inner(self, call, ok, first, ...)
  if not ok then
    return false, call.tell(first, call.inner)
  elseif status(call.inner) == "dead" then
    return true
  elseif call.marker ~= nil and first ~= call.marker then
    return false, "it yielded, and nobody was to resume it"
  elseif not adapters.can_yield() then
    return false, "it waits, and its event loop has ended"
  end
  return step_on(self, call, yield(first, ...))
end

-- Who waits for a call that has ended goes on. What raises there, below a call of its own, is for who
-- waits for that one.
local function go_on_around(call, ...)
  local ok, problem = resume(call.outer, ...)
  while not ok and call.around do
    call = call.around
    ok, problem = resume(call.outer, LOST, problem)
  end
  if not ok then error(problem, 0) end
end

local function waits_around(call)
  return call.outer ~= nil and status(call.outer) == "suspended"
end

local function called(self, call, ...)
  self.call = call.around
  return ...
end

-- In a coroutine of its own, which somebody else may resume where the loop's waits have no mark.
local function call_inside(self, f, tell)
  local call = { tell = tell, marker = self.owner.adapter.marker, around = self.call,
    outer = running() }
  call.inner = create(call.marker ~= nil and f or function()
    f()
    if waits_around(call) then go_on_around(call, FINISHED) end
  end)
  adapters.outer[call.inner] = adapters.running()
  self.call = call
  return called(self, call, step_inner(self, call, resume(call.inner)))
end

-- As xpcall(f, tell) of f(), which may wait in a loop that this runs in.
local function call_waiting(self, f, tell)
  local adapter = self.owner.adapter
  if not adapter or DIRECT and adapter.marker == nil then return xpcall(f, tell) end
  return call_inside(self, f, tell)
end

--- After a turn of the loop: a setup or teardown that somebody else has resumed may have raised there.
function bodies:settle_call()
  local call = self.call
  if call and status(call.inner) == "dead" and waits_around(call) then go_on_around(call, LOST) end
end

--- What a setup returned, as of a handler: false, or nil with a reason, is a failure. -> why, or nil
function bodies.setup_failure(given, reason)
  if given or given == nil and reason == nil then return nil end
  return reason == nil and "it returned false" or text_of(reason)
end

local function set_up(self, name, module)
  if type(module) ~= "table" then return end
  local setup, teardown = optional(module, name, "setup"), optional(module, name, "teardown")
  if setup then
    local given, reason
    local ok, problem = call_waiting(self, function() given, reason = setup(self.args) end,
      self.core.traceback)
    if not ok then fail(name, "error in setup: %s", text_of(problem)) end
    problem = bodies.setup_failure(given, reason)
    if problem then fail(name, "setup failed: %s", problem) end
  end
  if teardown then self.teardowns[#self.teardowns + 1] = teardown end
end

-- All are loaded before the first is set up, each once.
local function load_all(self)
  local modules, names = {}, {}
  for i, route in ipairs(self.routes) do
    local module = route.func
    if not module then
      if modules[route.module] == nil then
        modules[route.module] = require_module(route)
        names[#names + 1] = route.module
      end
      module = modules[route.module]
    end
    self.handlers[i] = handle_of(module, route)
    if not takes_context(self.handlers[i]) then self.core.bare(i - 1) end
  end
  for _, name in ipairs(names) do set_up(self, name, modules[name]) end
end

-- Messages of Lua's have lines.
local function one_line(message)
  return (message:gsub(":[\r\n\t]+", ": "):gsub("[\r\n\t]+", "; "))
end

-- As pcall of f(self), in which a module's setup may wait.
function bodies:guard(f)
  if DIRECT or not self.owner.adapter then return pcall(f, self) end
  return call_waiting(self, function() f(self) end, function(problem) return problem end)
end

--- -> true | nil, message, "HANDLER"
function bodies:load()
  local ok, problem = self:guard(load_all)
  if not ok then return nil, one_line(text_of(problem)), "HANDLER" end
  self.loaded = true
  return true
end

local function tell_torn(self, problem)
  self.owner.dispatcher:log(WARNING, "handler", "error in teardown: " .. text_of(problem))
end

local function tear_down(self)
  for i = #self.teardowns, 1, -1 do
    local teardown = self.teardowns[i]
    self.teardowns[i], self.tearing = nil, true
    local ok, problem = call_waiting(self, teardown, self.core.traceback)
    self.tearing = false
    if not ok then tell_torn(self, problem) end
  end
end

-- They end: next() says so.
local function wake_all(self)
  local ok, problem = true, nil
  for _, waiter in pairs(self.parked) do
    local woken, raised = pcall(self.adapter.wake, waiter)
    if ok and not woken then ok, problem = false, raised end
  end
  if ok then return end
  self.owner.dispatcher:log(WARNING, "loop",
    "the event loop's adapter: wake raised: " .. text_of(problem))
end

--- The consumer has ended: so has each of its handlers, as far as it is concerned. Last their
--- modules' teardown.
function bodies:finish()
  if self.finished then return end
  self.finished = true
  self.core.finish()
  wake_all(self)
  self.threads, self.parked = {}, {}
  tear_down(self)
end

-- A body may have its next record when the adapter comes to it.
local function is_late(self, number)
  for _, late in ipairs(self.core.overdue()) do
    if late == number then return true end
  end
  return false
end

--- Where the adapter can, it ends what has passed its deadline.
function bodies:cancel_late()
  local cancel = self.settled and self.adapter and self.adapter.cancel
  if not cancel then return end
  for _, number in ipairs(self.core.overdue()) do
    local handle = self.handles[number]
    if handle then cancel(handle, "deadline", function() return is_late(self, number) end) end
  end
end

--- The loop has ended: what is left is done outside of it.
function bodies:leave()
  self.call = nil
  if self.tearing then tell_torn(self, "it waits, and its event loop has ended") end
  if self.finished then tear_down(self) else self:finish() end
end

--- A close has begun that waits for what runs alone.
function bodies:halt() self.core.halt() end

local RETURNED = "no traceback: the handler has returned, and done() was not called"
local ENDED = "no traceback: the handler had ended when the program came back to step(), or its loop"

--- Where the handler of a body waits: it is read here, in the thread of the coroutines. 0: it has
--- returned, and its record has not ended.
function bodies:where(number)
  local thread = self.coroutines[number]
  return thread and traceback_of(thread) or RETURNED
end

local function trace(self, event)
  local number = self.core.holder(event.topic, event.partition, event.offset)
  event.reason = number and self:where(number) or ENDED
end

--- -> on_event, for which events of slow records have a traceback
function bodies:traced(on_event)
  return on_event and function(event)
    if event.type == "slow_record" then pcall(trace, self, event) end
    on_event(event)
  end
end

--- What configure{} changes.
function bodies:configure(flat)
  if flat.max_in_flight then self.core.limit(flat.max_in_flight) end
  if flat.retry then self.retries[#self.routes + 1] = flat.retry_func end
end

local function set_methods(self)
  local core = self.core
  function core.methods.defer(context)
    local number, serial = core.defer(context)
    return function(...) return core.answer(number, serial, ...) end
  end
end

--- 'owner' is the consumer; 'own': { routes, retries, args, max_slice }.
function bodies.new(owner, userdata, own)
  local self = setmetatable({
    owner = owner, routes = own.routes, retries = own.retries, args = own.args,
    handlers = {}, teardowns = {}, threads = {}, parked = {},
    coroutines = setmetatable({}, { __mode = "v" }), -- by number: what runs the handler
    handles = setmetatable({}, { __mode = "v" }), -- by number: what the adapter's spawn gave
    last = 0, serving = false, loaded = false, spoilt = false,
    relays = false, free = true, resumed = false, tearing = false, second = nil,
  }, bodies)
  for i = 1, #own.routes do self.handlers[i] = false end
  self.core = userdata:local_open(self.handlers, own.retries, own.args, own.max_slice)
  set_methods(self)
  return self
end

return bodies
