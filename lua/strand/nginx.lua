-- nginx.lua: what strand must know of an nginx that it runs in
--
-- nginx forks its workers after init_by_lua. A client's thread may hold a lock of the C library
-- then, which nobody in the worker ever gives back: clients of the worker's own hang there, for
-- ever. So none is opened before, not even to be refused. A program that forks otherwise cannot be
-- seen here.
--
-- At a stop (TERM) the master kills a worker 3.15 s later, whatever it does: so what ends with the
-- worker has CLOSE_WITHIN seconds, all of it together. And when a worker ends later than 1.55 s after
-- the stop, the master kills all others at that moment: so one that has needed longer than ALONE_UNTIL
-- ends when no other has more time either.

local core = require "strand.core"
local schema = require "strand.schema"

local nginx = {
  UNSERVED = "it would wait, and hold up nginx: have it served by strand.loop.resty.start",
}

local CLOSE_WITHIN = 2.4
local ALONE_UNTIL = 1.4 -- seconds of it
local END_WITH_OTHERS = 0.2 -- seconds past it: for what others still write

local ends_at -- by core.now; nil: the worker goes on
local opened = setmetatable({}, { __mode = "k" }) -- objects that are not known to be closed

local function api()
  local ngx = package.loaded.ngx or rawget(_G, "ngx")
  return type(ngx) == "table" and type(ngx.get_phase) == "function" and ngx or nil
end

-- -> the phase's name | nil: this is not nginx, or it has none that can be told
function nginx.phase()
  local ngx = api()
  if not ngx then return nil end
  local ok, phase = pcall(ngx.get_phase)
  return ok and phase or nil
end

local function subsystem()
  local config = api().config
  return type(config) == "table" and config.subsystem or "http"
end

local function refusal(phase)
  if phase == "init" then
    return "not in init_by_lua, after which nginx forks its workers; "
      .. "open it in init_worker_by_lua or later"
  elseif subsystem() ~= "http" then
    return "in nginx only in http { }, not in " .. tostring(subsystem()) .. " { }"
  elseif not core.is_first_state() then
    return "another Lua state of this nginx worker has opened objects of strand: "
      .. "lua_code_cache is off, which makes one for each request. Set it on"
  end
end

-- Raises where nothing can be opened, before a thread starts.
function nginx.check_open(what)
  local phase = nginx.phase()
  local reason = phase and refusal(phase)
  if reason then schema.raise(("strand.%s: %s"):format(what, reason)) end
end

local function has_others()
  local worker = api().worker
  return worker ~= nil and worker.count() > 1
end

-- An object that was opened ends with the worker.
function nginx.note_open(object)
  if not nginx.phase() then return end
  core.own_process()
  core.finalize_within(has_others() and ALONE_UNTIL or CLOSE_WITHIN)
  object.in_nginx = true
  opened[object] = true
end

-- Raises where 'name' would wait outside of nginx's loop.
function nginx.refuse_wait(object, name)
  if object.in_nginx then schema.raise(("%s(): %s"):format(name, nginx.UNSERVED)) end
end

-- -> those that were opened and not collected, in a list
function nginx.opened()
  local list = {}
  for object in pairs(opened) do list[#list + 1] = object end
  return list
end

-- At the worker's end, in exit_worker_by_lua: CLOSE_WITHIN begins to run out, if it has not yet.
-- -> the seconds that are left of it | nil: the worker goes on
function nginx.count_down()
  if nginx.phase() ~= "exit_worker" then return nil end
  ends_at = ends_at or core.now() + CLOSE_WITHIN
  return math.max(0, ends_at - core.now())
end

-- After that, when all is closed: waits where the end of this worker would be that of others, too.
function nginx.await_others()
  local left = nginx.count_down()
  if CLOSE_WITHIN - left < ALONE_UNTIL or not has_others() then return end
  core.wait({}, math.max(0, ends_at + END_WITH_OTHERS - core.now()))
end

return nginx
