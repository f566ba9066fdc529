-- limits.lua: what nginx's configuration allows of timers and connections
--
-- No function of the Lua module gives these: they are read where nginx keeps them. What is found is
-- believed only where what stands beside it is known otherwise; else there is no limit here, and a
-- timer that does not start is told of (resty.lua).

local limits = {}

-- Each begins so in every version: ngx_module_t, ngx_cycle_t, and what ngx_http_conf_get_module_*
-- and ngx_event_get_conf take a module's own by.
local DECLARED = [[
  typedef struct { uintptr_t ctx_index, index; } strand_nginx_module;
  extern strand_nginx_module strand_nginx_http __asm__("ngx_http_module");
  extern strand_nginx_module strand_nginx_lua __asm__("ngx_http_lua_module");
  extern strand_nginx_module strand_nginx_events __asm__("ngx_events_module");
  extern strand_nginx_module strand_nginx_event_core __asm__("ngx_event_core_module");
  typedef struct { void **conf_ctx; } strand_nginx_cycle;
  extern strand_nginx_cycle *strand_nginx_the_cycle __asm__("ngx_cycle");
]]

local CYCLE_WITHIN = 16 -- words of the Lua module's configuration
local SANE = 1e9

local function declared()
  local ffi = require "ffi"
  if not pcall(ffi.typeof, "strand_nginx_cycle") then ffi.cdef(DECLARED) end
  return ffi
end

-- In the order of its fields behind the cycle: pool, max_pending_timers, pending_timers,
-- max_running_timers, running_timers.
local function timers(ffi)
  local C, cycle = ffi.C, ffi.C.strand_nginx_the_cycle
  local http = ffi.cast("void ***", cycle.conf_ctx[C.strand_nginx_http.index])
  local words = ffi.cast("intptr_t *", http[0][C.strand_nginx_lua.ctx_index])
  local address = ffi.cast("intptr_t", cycle)
  for i = 0, CYCLE_WITHIN - 1 do
    if words[i] == address then
      local pending, most, running = tonumber(words[i + 3]), tonumber(words[i + 4]),
        tonumber(words[i + 5])
      local known = pending == ngx.timer.pending_count() and running == ngx.timer.running_count()
      return known and most > 0 and most < SANE and most or nil
    end
  end
end

local function connections(ffi)
  local C = ffi.C
  local events = ffi.cast("void ***", C.strand_nginx_the_cycle.conf_ctx[C.strand_nginx_events.index])
  local most = tonumber(ffi.cast("uintptr_t *", events[0][C.strand_nginx_event_core.ctx_index])[0])
  return most > 0 and most < SANE and most or nil
end

-- -> lua_max_running_timers | nil, worker_connections | nil
function limits.read()
  local ok, ffi = pcall(declared)
  if not ok then return nil end
  local known, timers_most = pcall(timers, ffi)
  local also_known, connections_most = pcall(connections, ffi)
  return known and timers_most or nil, also_known and connections_most or nil
end

local OTHERS = 16 -- connections that a worker has beside: what it listens on, its channel

-- Whether so many timers may run at once, of which 'others' do already. -> true | nil, message, code
function limits.check(need, others, why)
  local timers_most, connections_most = limits.read()
  if timers_most and need + others > timers_most then
    return nil, ("lua_max_running_timers is %d: %s %d timers, and %d run beside them; raise it to "
      .. "%d or more"):format(timers_most, why, need, others, need + others), "LIMIT"
  end
  local least = need + others + OTHERS
  if connections_most and least > connections_most then
    return nil, ("worker_connections is %d: %s %d timers, each of which takes one; raise it to %d, "
      .. "and by what HTTP and the handlers' sockets take"):format(
      connections_most, why, need, least), "LIMIT"
  end
  return true
end

return limits
