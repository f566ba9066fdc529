-- The event loops that strand has adapters for, behind one interface, for specs that hold in each.
--
--   for name, loop in loops.each() do ... end
--
--   loop.run(f, again)   f in a coroutine of the loop, until it has returned; what it raises is
--                    raised. A new loop, but 'again'
--   loop.start(object)   strand's, in that loop
--   loop.adapter()   what that gives to strand, as a table to change
--   loop.spawn(f), loop.sleep(seconds)   of the loop itself
--   loop.passes_yields   a coroutine of it may yield, and be resumed, by others
--   loop.forget()    nothing is kept of the last run
--   loop.close()     the same, and it is not used again
--   loop.outside(f)  f where the loop has control, but no coroutine of it: a callback
local now = require("strand.core").now
local strand = require "strand"

local LIMIT = 120 -- seconds for one run; a test that takes them has failed

local loops = {}

local crosses_pcall = require("strand.loop.adapter").yields_across_pcall

-- f's end, as the run is to know it. Lua 5.1 cannot yield across pcall: there an error goes to the
-- loop, which says it or not.
local function ending(f)
  local over = {}
  return over, function()
    if not crosses_pcall then
      f()
      over.ok = true
    else
      local ok, problem = xpcall(f, function(problem)
        return type(problem) == "string" and debug.traceback(problem, 2) or problem
      end)
      over.ok, over.problem = ok, problem
    end
  end
end

local function turn_until_over(over, turn)
  local deadline = now() + LIMIT
  while over.ok == nil do
    turn()
    assert(now() < deadline, "the coroutine has not ended in time")
  end
  if not over.ok then error(over.problem, 0) end
end

local function copy(t)
  local copied = {}
  for name, value in pairs(t) do copied[name] = value end
  return copied
end

-- ---- each of them ----------------------------------------------------------

local function cqueues_loop(cqueues)
  local controller
  local loop = { sleep = cqueues.sleep }
  function loop.run(f, again)
    controller = again and controller or cqueues.new()
    local over, body = ending(f)
    controller:wrap(body)
    turn_until_over(over, function()
      local ok, problem = controller:step(0.1)
      if not ok then error(problem, 0) end
    end)
  end
  function loop.start(object) return strand.loop.cqueues.start(object, controller) end
  function loop.adapter() return strand.loop.cqueues.adapter(controller) end
  function loop.spawn(f) controller:wrap(f) end
  function loop.outside(f) f() end -- before the loop runs
  -- What is kept of it by others keeps nothing open.
  function loop.close()
    if controller then controller:close() end
    controller = nil
  end
  function loop.forget()
    controller = nil
    if rawget(_G, "jit") then jit.flush() end -- traces keep what they were compiled for
  end
  return loop
end

local function luv_loop(uv)
  local adapter = strand.loop.luv.adapter(uv)
  local loop = { sleep = adapter.sleep, spawn = adapter.spawn, passes_yields = true }
  function loop.run(f)
    local over, body = ending(f)
    local tick = uv.new_timer()
    tick:start(0, 50, function() end)
    adapter.spawn(body)
    turn_until_over(over, function() uv.run "once" end)
    tick:close()
    uv.run "nowait"
  end
  function loop.start(object) return strand.loop.luv.start(object, uv) end
  function loop.adapter() return copy(adapter) end
  function loop.forget() end
  function loop.close() end
  function loop.outside(f)
    local ok, problem
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      ok, problem = pcall(f)
      timer:close()
    end)
    while ok == nil do uv.run "once" end
    if not ok then error(problem, 0) end
  end
  return loop
end

local function plain_loop()
  local plain
  local loop = { passes_yields = true }
  function loop.run(f, again)
    plain = again and plain or strand.loop.plain.new()
    local over, body = ending(f)
    plain.spawn(body)
    turn_until_over(over, function() plain.step(0.1) end)
  end
  function loop.start(object) return plain.start(object) end
  function loop.adapter() return copy(plain.adapter) end
  function loop.spawn(f) return plain.spawn(f) end
  function loop.sleep(seconds) return plain.sleep(seconds) end
  function loop.outside(f) f() end
  function loop.forget() plain = nil end
  loop.close = loop.forget
  return loop
end

local MAKERS = { cqueues = cqueues_loop, luv = luv_loop, plain = plain_loop }
local ORDER = { "cqueues", "luv", "plain" }

local made = {}

--- The one of this name.
function loops.of(name)
  made[name] = made[name] or MAKERS[name](name ~= "plain" and require(name) or nil)
  return made[name]
end

-- All that this Lua has; plain is always there.
function loops.each()
  local found = {}
  for _, name in ipairs(ORDER) do
    local ok, module = true, nil
    if name ~= "plain" then ok, module = pcall(require, name) end
    if ok then found[#found + 1] = { name, MAKERS[name](module) } end
  end
  local i = 0
  return function()
    i = i + 1
    if found[i] then return found[i][1], found[i][2] end
  end
end

return loops
