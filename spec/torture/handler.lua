-- The handler of the crash test: writes down that it starts, waits, and writes
-- down that it ends, or fails (lines.lua). spec/torture/history.lua reads that.
-- It sleeps 1 ms; in an event loop up to 1 s, by the loop's own sleep.
local lines = require "spec.torture.lines"
local poison = require "spec.torture.poison"
local system = require "system"

local handler = {}
local log, fails, wait

local LONGEST = 1 -- seconds, in a loop

local waits = {}

function waits.thread()
  return function() system.sleep(0.001) end
end

function waits.cqueues()
  local sleep = require "cqueues".sleep
  return function() sleep(LONGEST * math.random()) end
end

--- args: log, a path; poison: whether there is any; loop: the name of one that
--- this runs in.
function handler.setup(args)
  log = lines.open(args.log)
  wait = waits[args.loop or "thread"]()
  fails = args.poison and poison.is or function() return false end
end

function handler.teardown()
  log:close()
end

function handler.handle(record)
  log:write("start", record)
  wait()
  if fails(record.key, tonumber(record.value)) then
    log:write("fail", record)
    error("poison", 0)
  end
  log:write("end", record)
end

return handler
