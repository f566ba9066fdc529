-- A consumer without workers that an event loop serves, behind the methods that one without a loop
-- has: so specs of what holds however handlers run hold in each loop (spec/support/modes.lua).
--
-- What waits is called in a coroutine of the loop, which turns until that has returned; step() has
-- it turn.
local adapter = require "strand.loop.adapter"
local waits = require "strand.waits".consumer

local unpack = table.unpack or unpack

local in_loop = {}

local function pack(...) return { n = select("#", ...), ... } end

-- Lua 5.1 cannot yield across pcall: there the loop has the error, and says it.
local function call_in(loop, f, ...)
  local arguments, results = pack(...), nil
  loop.run(function()
    if adapter.yields_across_pcall then results = pack(pcall(f, unpack(arguments, 1, arguments.n)))
    else results = pack(true, f(unpack(arguments, 1, arguments.n))) end
  end, true)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end

local methods = {}

function methods.start(self)
  self.loop.run(function() end, true) -- so that there is one
  return self.loop.start(self.consumer)
end

-- -> how often it was served
function methods.step(self, timeout)
  local service = self.consumer.loop
  local before = service and service.turns
  self.loop.run(function() self.loop.sleep(timeout or 0) end, true)
  if self.consumer.core:state() == "closed" then return nil, "the consumer is closed", "CLOSED" end
  return service and service.turns - before or 0
end

function methods.run(self, ...)
  if not self.consumer.loop then
    local ok, message, code = methods.start(self)
    if not ok then return nil, message, code end
  end
  while self.consumer.core:state() ~= "closed" do methods.step(self, 0.01) end
  return call_in(self.loop, self.consumer.close, self.consumer, ...)
end

function methods.parked(self)
  local iterator, message, code = call_in(self.loop, self.consumer.parked, self.consumer)
  if not iterator then return nil, message, code end
  return function() return call_in(self.loop, iterator) end
end

--- The consumer, in that loop of spec/support/loops.lua.
function in_loop.wrap(consumer, loop)
  local self = { consumer = consumer, loop = loop }
  return setmetatable({}, { __index = function(_, name)
    local value = consumer[name]
    if type(value) ~= "function" then return value end
    if methods[name] then return function(_, ...) return methods[name](self, ...) end end
    if not waits[name] then return function(_, ...) return value(consumer, ...) end end
    return function(_, ...) return call_in(loop, value, consumer, ...) end
  end })
end

return in_loop
