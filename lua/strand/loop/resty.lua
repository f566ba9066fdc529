-- resty.lua: objects of strand in nginx (OpenResty's lua-nginx-module)
--
--   strand.loop.resty.start(object[, options])
--
-- In init_worker_by_lua, or later. One light thread serves the object, in a timer of its own;
-- handlers are light threads in contexts of a few (resty/contexts.lua).

local bridge_of = require "strand.loop.resty.bridge"
local contexts_of = require "strand.loop.resty.contexts"
local service = require "strand.loop.service"
local semaphore = require "ngx.semaphore"

local loop = {}

local FOREVER = 2147483.647

-- Where nginx lets Lua yield.
local YIELDS = { rewrite = true, access = true, content = true, timer = true, ssl_cert = true,
  ssl_session_fetch = true, server_rewrite = true }

local function sleep(seconds, waiter)
  if not waiter then return ngx.sleep(seconds) end
  if not waiter.semaphore then waiter.semaphore = assert(semaphore.new(0)) end
  waiter.semaphore:wait(seconds or FOREVER)
end

local function wake(waiter)
  if waiter.semaphore then waiter.semaphore:post() end
end

local function alive() return YIELDS[ngx.get_phase()] == true end

local the_bridge

local function new_adapter()
  the_bridge = the_bridge or bridge_of.new(os.getenv "TMPDIR" or "/tmp")
  local contexts = contexts_of.new()
  return {
    serve = function(body) assert(ngx.timer.at(0, body)) end,
    spawn = function(body) return contexts:spawn(body) end,
    wait_readable = function(fd) the_bridge:wait(fd) end,
    sleep = sleep, wake = wake, now = ngx.now, alive = alive,
  }
end

-- -> true | nil, message, code
function loop.start(object)
  return service.start(object, new_adapter(), ngx.get_phase() == "init_worker")
end

return loop
