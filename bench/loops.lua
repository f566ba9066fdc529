-- loops.lua: the event loops of the benchmarks
--
--   loops.cqueues, loops.luv, loops.none (strand's own step), each made when asked for:
--
--   spawn(f)                     f() in a coroutine of the loop
--   sleep(seconds, context)      as a user of that loop waits; the context is wanted only where
--                                sleeps_by_context
--   run()                        until every coroutine has ended
--   serve(consumer, over) -> report    starts it, serves it until over(consumer) -> true | false,
--                                      seconds until the next look (LOOK); closes it

local LOOK = 0.05

local make = {}

-- In a coroutine of the loop.
local function serve_within(loop, name, consumer, over)
  local report
  loop.spawn(function()
    assert(require("strand.loop." .. name).start(consumer, loop.handle))
    local is_over, pause = over(consumer)
    while not is_over do
      loop.sleep(pause or LOOK)
      is_over, pause = over(consumer)
    end
    report = assert(consumer:close())
  end)
  loop.run()
  return assert(report, "the loop ended too early")
end

function make.cqueues()
  local cqueues = require "cqueues"
  local loop = { handle = cqueues.new(), sleep = cqueues.sleep }
  function loop.spawn(f) loop.handle:wrap(f) end
  function loop.run() assert(loop.handle:loop()) end
  return loop
end

-- A timer for each that sleeps, used again.
function make.luv()
  local uv = require "luv"
  local idle = {}
  local loop = { handle = uv }

  local function new_timer()
    local it = { timer = uv.new_timer() }
    function it.fire()
      idle[#idle + 1] = it
      local ok, problem = coroutine.resume(it.thread)
      if not ok then error(debug.traceback(it.thread, problem), 0) end
    end
    return it
  end

  function loop.sleep(seconds)
    local count = #idle
    local it = idle[count] or new_timer()
    idle[count] = nil
    it.thread = coroutine.running()
    it.timer:start(math.ceil(seconds * 1000), 0, it.fire)
    coroutine.yield()
  end

  function loop.spawn(f) assert(coroutine.resume(coroutine.create(f))) end
  function loop.run() uv.run() end
  return loop
end

function make.none()
  local loop = { sleeps_by_context = true }
  function loop.sleep(seconds, context) context:sleep(seconds) end
  function loop.serve(consumer, over)
    assert(consumer:start())
    local is_over, pause = over(consumer)
    while not is_over do
      assert(consumer:step(pause or LOOK))
      is_over, pause = over(consumer)
    end
    return assert(consumer:close())
  end
  return loop
end

return setmetatable({}, {
  __index = function(loops, name)
    local loop = assert(make[name], "no such loop")()
    loop.serve = loop.serve or function(consumer, over)
      return serve_within(loop, name, consumer, over)
    end
    rawset(loops, name, loop)
    return loop
  end,
})
