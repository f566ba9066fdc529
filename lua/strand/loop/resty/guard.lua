-- guard.lua: what nginx has that a handler cannot be left to call as it is
--
--   ngx.exit()          in a timer it ends the whole context, with all handlers that live in it,
--                       without a word: here it raises
--   coroutine.wrap()    what is raised in it passes every pcall of nginx's, and ends the light
--                       thread: here it is raised where it was called, as in Lua
--   ngx.thread.wait()   of several: those that have not ended wake whoever called it once more, out
--                       of whatever it waits for then, which is another record's handler: here that
--                       light thread takes no other
--
-- Whoever has kept one from before gets that; contexts.lua finds out what was ended.

local guard = {}

local leaves = setmetatable({}, { __mode = "k" }) -- by light thread of a handler

-- In a timer of ours: it and all light threads of it.
function guard.mark() ngx.ctx.strand_context = true end

-- In a light thread: leave() has it take no other record.
function guard.mark_thread(leave) leaves[coroutine.running()] = leave end

local function in_context()
  return ngx.get_phase() == "timer" and ngx.ctx.strand_context == true
end

-- The mark stays where a handler gives ngx.ctx another table.
local function guard_mark()
  local metatable = getmetatable(ngx)
  local set = metatable.__newindex
  metatable.__newindex = function(table, key, value)
    if key == "ctx" and type(value) == "table" and in_context() then value.strand_context = true end
    return set(table, key, value)
  end
end

local function guard_exit()
  local exit = ngx.exit
  ngx.exit = function(...)
    if in_context() then
      error("ngx.exit() in a handler, where it would end those of other records: return or raise", 2)
    end
    return exit(...)
  end
end

local function passed(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

local function guard_wrap()
  local wrap = coroutine.wrap
  rawset(coroutine, "wrap", function(f)
    if not in_context() then return wrap(f) end
    local thread = coroutine.create(f)
    return function(...) return passed(coroutine.resume(thread, ...)) end
  end)
end

local function guard_wait()
  local wait = ngx.thread.wait
  ngx.thread.wait = function(...)
    if select("#", ...) > 1 and in_context() then
      local leave = leaves[coroutine.running()]
      if leave then leave() end
    end
    return wait(...)
  end
end

-- Once in a Lua state.
function guard.install()
  if guard.installed then return end
  guard.installed = true
  guard_mark()
  guard_exit()
  guard_wrap()
  guard_wait()
end

return guard
