-- luv.lua: objects of strand in libuv's loop
--
--   strand.loop.luv.start(object[, luv])
--
-- The second argument is the module, where a program has another one than require "luv" gives.

local sleepers = require "strand.loop.sleepers"
local schema = require "strand.schema"
local service = require "strand.loop.service"

local loop = {}

-- As when the loop itself is found to have nothing left: which of the two is seen first is chance.
local CLOSED = "the event loop has ended: the program has closed strand's handle"

local function seconds_of(uv) return uv.hrtime() / 1e9 end

-- Handles of descriptors are kept for the next time: they keep no loop alive.
local function waiter_on(uv, list)
  local handles = {}
  return function(fd)
    local waiter = {}
    if not handles[fd] then handles[fd] = assert(uv.new_poll(fd)) end
    local handle = handles[fd]
    if handle:is_closing() then error(CLOSED, 0) end -- libuv aborts
    assert(handle:start("r", function()
      handle:stop()
      list:wake(waiter)
    end))
    list:sleep(nil, waiter)
  end
end

-- One timer resumes everybody: at once, or when the next time comes.
local function new_list(uv)
  local timer, set = assert(uv.new_timer()), nil
  local list, arm
  local function turn()
    set = nil
    list:resume_ready()
    arm()
  end
  function arm()
    local patience = list:patience()
    local at = patience and list.now() + patience
    if not at or (set and set <= at) then return end
    set = at
    uv.update_time()
    timer:start(math.ceil(patience * 1000), 0, turn)
  end
  list = sleepers.new(function() return seconds_of(uv) end, function(self)
    if not self.current then arm() end
  end)
  return list
end

local function new_adapter(uv)
  local list = new_list(uv)
  return {
    spawn = function(body) return list:spawn(body) end,
    wait_readable = waiter_on(uv, list),
    sleep = function(seconds, waiter) list:sleep(seconds, waiter) end,
    wake = function(waiter) list:wake(waiter) end,
    now = list.now,
    alive = function(handle) return handle == nil or coroutine.status(handle) ~= "dead" end,
  }
end

local adapters = setmetatable({}, { __mode = "k" })

-- -> the adapter of this luv, the same each time
function loop.adapter(uv)
  adapters[uv] = adapters[uv] or new_adapter(uv)
  return adapters[uv]
end

-- Of a loop that is a worker's own (async.lua): its adapter, one turn of it -> true | nil: it has
-- ended, and why; what ends a turn, which before libuv 1.45 would go on to wait after its timers;
-- what comes before its state is closed: luv frees a handle that closes then,
-- and the loop would go on with it; and a function of the library whose callbacks raise in nobody.
function loop.driver(uv)
  return {
    adapter = loop.adapter(uv),
    step = function()
      uv.run "once"
      if uv.loop_alive() then return true end
      return nil, "no handle of the loop is active"
    end,
    stop = function() uv.stop() end,
    leave = function()
      uv.run "nowait" -- ends at once where a stop was asked for between two turns
      uv.run "nowait"
    end,
    library = uv.run,
  }
end

local function is_luv(uv)
  return type(uv) == "table" and type(uv.new_poll) == "function"
end

-- -> true | nil, message, code
function loop.start(object, uv)
  uv = uv == nil and require "luv" or uv
  if not is_luv(uv) then
    schema.raise("argument 'loop': module luv expected, got " .. schema.describe(uv))
  end
  return service.start(object, loop.adapter(uv), uv.loop_mode() == nil)
end

return loop
