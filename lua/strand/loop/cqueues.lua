-- cqueues.lua: objects of strand in a controller of cqueues
--
--   strand.loop.cqueues.start(object[, controller])
--
-- The controller is the one that runs now, unless another is given.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local schema = require "strand.schema"
local service = require "strand.loop.service"

local loop = {}

local function sleep(seconds, waiter)
  if not waiter then return cqueues.poll(seconds) end
  if not waiter.condition then waiter.condition = condition.new() end
  if seconds then return cqueues.poll(waiter.condition, seconds) end
  cqueues.poll(waiter.condition)
end

local function wake(waiter)
  if waiter.condition then waiter.condition:signal() end
end

-- What is polled outside of a controller would run a hidden one, and block.
local function alive(handle)
  if handle then return coroutine.status(handle.thread) ~= "dead" end
  return cqueues.running() ~= nil
end

-- The controller may forget fd: it may be closed before it is polled again.
local function wait_readable(fd)
  cqueues.poll { pollfd = fd, events = "r" }
  cqueues.cancel(fd)
end

-- -> a function that spawns in this controller
local function spawner(controller)
  return function(body)
    local handle = { thread = false }
    controller:wrap(function()
      handle.thread = coroutine.running()
      return body() -- nothing of this stays
    end)
    return handle
  end
end

-- -> the adapter of a controller
function loop.adapter(controller)
  return { spawn = spawner(controller), wait_readable = wait_readable, sleep = sleep, wake = wake,
    now = cqueues.monotime, alive = alive, marker = cqueues._POLL }
end

-- Of a loop that is a worker's own (async.lua): its adapter, and one turn of it -> goes on | false:
-- some coroutine has failed | nil: it has ended, and why.
function loop.driver()
  local controller = cqueues.new()
  local adapter = loop.adapter(controller)
  -- The worker's bell is as old as the loop, and need not be forgotten.
  function adapter.wait_readable(fd) cqueues.poll { pollfd = fd, events = "r" } end
  return { adapter = adapter, step = function() return controller:step() end,
    stop = function() end, leave = function() end }
end

local function controller_of(given)
  local controller = given or cqueues.running()
  if cqueues.type(controller) == "controller" then return controller end
  schema.raise(given == nil and "argument 'loop': no controller of cqueues runs here, so one is required"
    or "argument 'loop': controller of cqueues expected, got " .. schema.describe(given))
end

-- -> true | nil, message, code
function loop.start(object, controller)
  return service.start(object, loop.adapter(controller_of(controller)), cqueues.running() == nil)
end

return loop
