-- run.lua: the run loop, which serves consumers until each has ended

local core = require "strand.core"
local lifecycle = require "strand.lifecycle"
local schema = require "strand.schema"
local wait = require "strand.wait"

local function each_open(list, act)
  for _, self in ipairs(list) do
    if not self.result then act(self) end
  end
end

local function serve_one(self)
  wait.serve(self)
  lifecycle.advance(self)
end

local function obey_failures(list)
  for _, self in ipairs(list) do
    if self.failure then return wait.stop_all(list, "finish") end
  end
end

local function tick(loop)
  if not loop.tick or core.now() < loop.next_tick then return end
  loop.next_tick = core.now() + loop.every
  each_open(loop.list, function(self)
    if self.core:state() == "running" then loop.tick(self) end
  end)
end

local function still_open(list)
  local open = {}
  each_open(list, function(self) open[#open + 1] = self end)
  return open
end

local function start_all(list)
  for _, self in ipairs(list) do
    if not self.result and not lifecycle.start(self) then return wait.stop_all(list, "finish") end
  end
end

local function turn(loop)
  start_all(loop.list)
  loop.next_tick = core.now() + loop.every
  while true do
    wait.obey_signals()
    each_open(loop.list, serve_one)
    obey_failures(loop.list)
    tick(loop)
    local open = still_open(loop.list)
    if #open == 0 then return end
    wait.any(open, loop.tick and math.max(0, loop.next_tick - core.now()))
  end
end

-- Serves all of 'list' until each has ended -> true | nil, message, code: it
-- could not begin, and nothing has happened. An error in tick passes
-- through, and leaves the consumers as they are. In a coroutine of its own: a
-- yield in tick would leave the signals taken for ever.
local function run(list, run_options)
  -- All is made before the signals are taken: what raises then leaves them.
  local loop = { list = list, every = run_options.every, tick = run_options.tick,
    close = run_options.close, next_tick = 0 }
  local thread = coroutine.create(turn)
  local taken, message, code = wait.take_signals(loop)
  if not taken then return nil, message, code end
  local ok, problem = coroutine.resume(thread, loop)
  wait.restore_signals()
  if coroutine.status(thread) == "suspended" then
    schema.raise("a callback yielded out of run(); use start() and step() in an event loop")
  end
  if not ok then error(problem, 0) end
  return true
end

return run
