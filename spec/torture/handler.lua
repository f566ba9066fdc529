-- The handler of the crash test: writes down that it starts, sleeps 1 ms, and
-- writes down that it ends, or fails (lines.lua). spec/torture/history.lua reads
-- that.
local lines = require "spec.torture.lines"
local poison = require "spec.torture.poison"
local system = require "system"

local handler = {}
local log, fails

--- args: log, a path; poison: whether there is any.
function handler.setup(args)
  log = lines.open(args.log)
  fails = args.poison and poison.is or function() return false end
end

function handler.teardown()
  log:close()
end

function handler.handle(record)
  log:write("start", record)
  system.sleep(0.001)
  if fails(record.key, tonumber(record.value)) then
    log:write("fail", record)
    error("poison", 0)
  end
  log:write("end", record)
end

return handler
