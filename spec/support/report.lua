-- busted's plain terminal, and the time of each file and of slow tests: a run
-- that hangs says where.
local system = require "system"

local SLOW = 2 -- seconds

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.plainTerminal"(options)
  local started = {}

  local function start(element)
    started[element] = system.monotime()
    return nil, true
  end

  local function finish(element, indent, limit)
    local seconds = system.monotime() - (started[element] or system.monotime())
    if seconds >= limit then
      io.write(("\n%s%s: %.1f s\n"):format(indent, element.name, seconds))
      io.flush()
    end
    return nil, true
  end

  busted.subscribe({ "file", "start" }, start)
  busted.subscribe({ "test", "start" }, start)
  busted.subscribe({ "file", "end" }, function(element) return finish(element, "  ", 0) end)
  busted.subscribe({ "test", "end" }, function(element) return finish(element, "    ", SLOW) end)
  return handler
end
