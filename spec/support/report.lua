-- busted's plain terminal, and the time of each file and of slow tests: a run
-- that hangs says where.
local system = require "system"

local SLOW = 2 -- seconds
local ENDING = 2 -- seconds that threads have for their end

-- A thread that is past its keys, and not yet past what glibc frees of it, is
-- no root for a sanitizer that looks for leaks: what it has would be told as
-- one. Threads of objects that are open still go on.
local function wait_for_threads()
  local over, threads = system.monotime() + ENDING, require "spec.support.helper".threads
  collectgarbage()
  while threads() > 1 and system.monotime() < over do system.sleep(0.01) end
end

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

  if os.getenv "STRAND_CHILDREN" then busted.subscribe({ "exit" }, wait_for_threads) end
  busted.subscribe({ "file", "start" }, start)
  busted.subscribe({ "test", "start" }, start)
  busted.subscribe({ "file", "end" }, function(element) return finish(element, "  ", 0) end)
  busted.subscribe({ "test", "end" }, function(element) return finish(element, "    ", SLOW) end)
  return handler
end
