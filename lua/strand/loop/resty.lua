-- resty.lua: objects of strand in nginx (OpenResty's lua-nginx-module)
--
--   strand.loop.resty.start(object[, options])   in init_worker_by_lua, or later
--
-- One light thread serves the object, in a timer of its own; handlers are light threads in
-- contexts of a few (resty/contexts.lua); descriptors are waited for by a bridge (resty/bridge.lua).
--
-- A light thread of the worker's looks each second at what nginx does not tell: contexts that were
-- ended, timers that have not started, handlers that are late. nginx fires a far timer at once,
-- 'premature', when the worker is to end: then each object is told to (serving.quit), and when the
-- last is no longer served the bridge goes. Nothing of this waits after that: the worker can end.
-- That timer is the last of all, and dropped where others take lua_max_running_timers at that moment:
-- then who looks notices the end.

local bridge_of = require "strand.loop.resty.bridge"
local contexts_of = require "strand.loop.resty.contexts"
local guard = require "strand.loop.resty.guard"
local limits = require "strand.loop.resty.limits"
local schema = require "strand.schema"
local semaphore = require "ngx.semaphore"
local service = require "strand.loop.service"
local snapshot = require "strand.loop.resty.snapshot"

local loop = {}

local LOOK = 1 -- seconds
local COMMON = 2 -- timers of ours that are no object's
local FAR = 1e6 -- seconds, until it is made anew
local FOREVER = contexts_of.FOREVER

-- Of this worker:
--   served { [entry] = true }    objects: { object, contexts, timers, asked, begun, bell, called }
--   ended { [contexts] = true }  of consumers that are closed, while handlers run that were given up
local worker = { served = {}, ended = {}, bridge = nil, bell = nil, exiting = false,
  awaits_exit = false, keeps = false }

-- Waiting -------------------------------------------------------------------------

-- Where nginx lets Lua yield.
local YIELDS = { server_rewrite = true, rewrite = true, access = true, content = true, timer = true,
  ssl_cert = true, ssl_client_hello = true, ssl_session_fetch = true }

local function alive(handle)
  if handle then return coroutine.status(handle.thread) ~= "dead" end
  return YIELDS[ngx.get_phase()] == true
end

local function sleep(seconds, waiter)
  if not waiter then return ngx.sleep(seconds) end
  if not waiter.semaphore then waiter.semaphore = assert(semaphore.new(0)) end
  waiter.semaphore:wait(seconds or FOREVER)
end

local function wake(waiter)
  if waiter.semaphore then waiter.semaphore:post() end
end

-- A sleep that raised, where it could not yield, has set its timer, which would end whatever this
-- thread waits for then. The next one takes it away; of no time at all nginx warns.
local function calm() ngx.sleep(0.001) end

-- Ends ----------------------------------------------------------------------------

local GIVEN_UP = "the worker of nginx ends, and close() had given the handler up"

local function tell(object, reason)
  object.dispatcher:tell { type = "error", time = os.time(), code = "NGINX", reason = reason }
end

local function last_has_gone()
  return worker.exiting and next(worker.served) == nil
end

-- An object is served no more.
local function left(entry)
  worker.served[entry] = nil
  if not entry.contexts:is_empty() then worker.ended[entry.contexts] = true end
  if worker.exiting and entry.object.bodies then entry.contexts:cancel_all(GIVEN_UP) end
  if last_has_gone() then worker.bridge:close() end
  worker.bell:post()
end

local function quit(entry)
  local quits = entry.object.loop and entry.object.loop.serving.quit
  if not quits then return end
  local ok, problem = pcall(quits, entry.object, entry.quit_timeout)
  if not ok then ngx.log(ngx.ERR, "strand: at the end of the worker: ", tostring(problem)) end
end

-- Serving -------------------------------------------------------------------------

local keep

-- -> true | nil, problem
local function look_on()
  if worker.keeps then return true end
  local ok, problem = ngx.timer.at(0, keep)
  worker.keeps = ok and true or false -- nginx gives 1
  return ok, problem
end

-- Lives as long as its context: it ends with whoever ends that.
local function echo(entry, bell)
  while true do
    if bell:wait(FOREVER) then entry.called = false end
  end
end

-- Who is served again, after the last one was not, is looked at again.
local function serve(entry, body)
  local looks, why = look_on()
  if not looks then error(why, 0) end
  local bell = assert(semaphore.new(0))
  entry.asked, entry.begun, entry.called, entry.bell = ngx.now(), false, false, nil
  local ok, problem = ngx.timer.at(0, function()
    if entry.begun then return end
    guard.mark()
    local thread = ngx.thread.spawn(echo, entry, bell)
    entry.begun, entry.bell = true, bell
    body()
    entry.bell = nil
    ngx.thread.kill(thread)
    left(entry)
  end)
  if not ok then error(problem, 0) end
  entry.body = body
  worker.served[entry] = true
end

-- Whoever was not started is asked for again.
local function look_at_start(entry)
  if entry.begun or ngx.now() - entry.asked < LOOK then return end
  tell(entry.object, ("the timer that serves it has not started within %d s: lua_max_running_timers "
    .. "or worker_connections is too small (%d timers run)"):format(LOOK, ngx.timer.running_count()))
  serve(entry, entry.body)
end

local ENDED = "the context in which callbacks are called was ended, by ngx.exit() or the like"

local function call(entry)
  if not entry.bell then return end
  entry.called = true
  entry.bell:post()
end

-- nginx may have ended the timer that serves, and says so to nobody.
local function look_at_end(entry)
  if not entry.called then return end
  tell(entry.object, ENDED)
  entry.object.loop:serve_anew(ENDED)
end

local function log_raised(ok, problem)
  if not ok then ngx.log(ngx.ERR, "strand: ", tostring(problem)) end
end

local function look_at(entry)
  look_at_start(entry)
  look_at_end(entry)
  entry.contexts:look()
  local bodies = entry.object.bodies
  if bodies then bodies:cancel_late() end
end

-- The worker is to end.
local function begin_end()
  if worker.exiting then return end
  worker.exiting = true
  for entry in pairs(worker.served) do quit(entry) end
  for contexts in pairs(worker.ended) do contexts:cancel_all(GIVEN_UP) end
  worker.bridge:wake_all()
  if last_has_gone() then worker.bridge:close() end
  worker.bell:post()
end

-- What one of them raises, of a timer that cannot be had, is no other's.
local function look()
  if ngx.worker.exiting() then begin_end() end
  for entry in pairs(worker.served) do
    log_raised(pcall(look_at, entry))
    if worker.exiting then quit(entry) end
  end
  for contexts in pairs(worker.ended) do
    if worker.exiting then contexts:cancel_all(GIVEN_UP) end
    contexts:look()
    if contexts:is_empty() then worker.ended[contexts] = nil end
  end
  snapshot.put()
end

local function is_over()
  return worker.exiting and next(worker.served) == nil and next(worker.ended) == nil
end

-- -> f(), which returns when whoever's semaphore was posted before has run: nginx wakes those in
-- their order. Of a timer that does not hold: others may be due, and hold the worker up.
local function new_pause()
  local asked, answered = assert(semaphore.new(0)), assert(semaphore.new(0))
  local thread = ngx.thread.spawn(function()
    while true do
      if asked:wait(FOREVER) then answered:post() end
    end
  end)
  return function()
    asked:post()
    answered:wait(FOREVER)
  end, thread
end

local function call_all()
  for entry in pairs(worker.served) do
    call(entry)
    entry.contexts:call()
  end
  for contexts in pairs(worker.ended) do contexts:call() end
end

local function look_each_second()
  local pause, thread = new_pause()
  while not is_over() do
    worker.bell:wait(LOOK)
    call_all()
    pause()
    log_raised(pcall(look))
  end
  ngx.thread.kill(thread)
  snapshot.leave()
end

-- In a timer that runs on: one that begins each second would not where there are too many.
function keep()
  guard.mark()
  log_raised(pcall(look_each_second))
  worker.keeps = false
end

-- nginx calls it when the worker is to end, unless too many timers run then.
local function on_exit(premature)
  if not premature then return ngx.timer.at(FAR, on_exit) end
  begin_end()
end

-- -> true | nil, problem
local function watch()
  local ok, problem = true, nil
  if not worker.awaits_exit then ok, problem = ngx.timer.at(FAR, on_exit) end
  worker.awaits_exit = worker.awaits_exit or ok and true or false
  if not ok then return nil, problem end
  return look_on()
end

-- Starting ------------------------------------------------------------------------

local function threads_of(object)
  return object.bodies and object.limits and object.limits.max_in_flight or 0
end

local function new_adapter(entry)
  entry.contexts = contexts_of.new(threads_of(entry.object), function(reason)
    tell(entry.object, reason)
  end)
  return {
    serve = function(body) serve(entry, body) end,
    spawn = function(body, leave) return entry.contexts:spawn(body, leave or function() end) end,
    cancel = contexts_of.cancel,
    wait_readable = function(fd) worker.bridge:wait(fd) end,
    tell = function(fd) return worker.bridge:tell(fd) end,
    sleep = sleep, wake = wake, now = ngx.now, alive = alive, calm = calm,
  }
end

local OPTIONS = schema.fields {
  "only_worker", schema.whole { min = 0, max = 65535,
    doc = "the number of the one worker of nginx that starts it; each does by default" },
  "socket_dir", schema.text { shape = "folder",
    doc = "where the Unix socket is made, for a moment; the worker's user must be able to write there" },
  "quit_timeout", schema.seconds { min = 0, max = 86400, default = 30,
    doc = "on reload and quit: how long handlers, or records under way, have" },
}

-- This worker's, of what start() was given. -> true | nil, message, code
local function check_worker(options)
  local only = options.only_worker
  if only == nil or ngx.worker.id() == only then return true end
  return nil, ("this is worker %s of nginx, and only worker %d was to start it"):format(
    tostring(ngx.worker.id()), only), "OTHER_WORKER"
end

-- Timers of ours that do not run yet count as if they did. With the first object there are the
-- bridge's, and that of who looks.
local function check_limits(object)
  local threads = threads_of(object)
  local need = 1 + contexts_of.need(threads)
  local why = threads > 0 and ("%d handlers in flight need"):format(threads) or "it needs"
  local ours = 0
  for entry in pairs(worker.served) do ours = ours + entry.timers end
  if ours > 0 then ours = ours + COMMON else need = need + COMMON end
  local ok, message, code = limits.check(need, math.max(ours, ngx.timer.running_count()), why)
  if not ok then return nil, message, code end
  return need
end

local function prepare(options)
  guard.install()
  worker.bell = worker.bell or assert(semaphore.new(0))
  if not worker.bridge then
    local bridge, message, code = bridge_of.new(options.socket_dir or os.getenv "TMPDIR" or "/tmp")
    if not bridge then return nil, message, code end
    worker.bridge = bridge
  end
  local ok, problem = watch()
  if ok then return true end
  return nil, "the worker's timer: " .. tostring(problem), "NGINX"
end

local function start(object, options)
  local timers, message, code = check_limits(object)
  local ok = timers
  if ok then ok, message, code = prepare(options) end
  if not ok then return nil, message, code end
  local entry = { object = object, quit_timeout = options.quit_timeout, timers = timers }
  return service.start(object, new_adapter(entry), ngx.get_phase() == "init_worker")
end

-- -> true | nil, message, code
function loop.start(object, options)
  options = schema.check(OPTIONS, options or {}, "")
  service.check(object)
  local ok, message, code = check_worker(options)
  if not ok then return nil, message, code end
  ok, message, code = start(object, options)
  log_raised(pcall(snapshot.add, object, message, code))
  return ok, message, code
end

loop.stats, loop.health = snapshot.stats, snapshot.health

loop.exit = require("strand.loop.ending").exit

return loop
