-- loop: event loops that serve objects of strand
--
--   strand.loop.cqueues, .luv, .plain, .resty    start(object[, loop]) -> true | nil, message, code
--   strand.loop.adapter(fields)          -> the same for a loop of the user's: { start }
--
-- Each is loaded when it is first asked for: strand needs none of them.

local adapter = require "strand.loop.adapter"
local service = require "strand.loop.service"

local LOOPS = { cqueues = true, luv = true, plain = true, resty = true }

local loop = {}

-- Whether the loop runs is not known: in a coroutine it is taken to.
local function is_outside()
  local thread, is_main = coroutine.running()
  return thread == nil or is_main == true
end

function loop.adapter(fields)
  local checked = adapter.check(fields)
  return { start = function(object) return service.start(object, checked, is_outside()) end }
end

return setmetatable(loop, {
  __index = function(self, name)
    if not LOOPS[name] then return nil end
    local found = require("strand.loop." .. name)
    rawset(self, name, found)
    return found
  end,
})
