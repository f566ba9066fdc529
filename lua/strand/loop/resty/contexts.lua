-- contexts.lua: light threads of nginx that live long, in timers that hold a few of them each
--
-- What a light thread opens belongs to the context that it lives in, which nginx makes for each
-- timer; and a context with thousands of threads is slow to search, for each socket that closes.

local semaphore = require "ngx.semaphore"

local contexts = {}
contexts.__index = contexts

local MOST = 64 -- threads in one context
local FOREVER = 2147483.647

function contexts.new() return setmetatable({ list = {} }, contexts) end

-- The entry thread spawns what is queued: only a thread of a context can, in it.
local function live(self, context)
  while context.live > 0 or #context.queue > 0 do
    local body = table.remove(context.queue, 1)
    if body then
      ngx.thread.spawn(function()
        body()
        context.live = context.live - 1
        if context.live == 0 then context.bell:post() end
      end)
    else
      context.bell:wait(FOREVER)
    end
  end
  self.list[context] = nil
end

local function with_room(self)
  for context in pairs(self.list) do
    if context.live < MOST then return context end
  end
  local context = { queue = {}, live = 0, bell = assert(semaphore.new(0)) }
  assert(ngx.timer.at(0, function() live(self, context) end))
  self.list[context] = true
  return context
end

-- body() in a new light thread, later.
function contexts:spawn(body)
  local context = with_room(self)
  context.live = context.live + 1
  context.queue[#context.queue + 1] = body
  context.bell:post()
  return context
end

return contexts
