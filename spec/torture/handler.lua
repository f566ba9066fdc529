-- The handler of the crash test: writes down that it starts, sleeps 1 ms, and
-- writes down that it ends, or fails, each by one write(2) to a file opened for
-- appending, before it goes on. spec/torture/history.lua reads the lines:
--
--   start|end|fail PROCESS PARTITION OFFSET KEY NUMBER ATTEMPT SECONDS
--
-- NUMBER is the record's value: the how manieth of its key it is. SECONDS are
-- of the clock that brokers have too. Every line has 64 bytes: none crosses a
-- page, where SIGKILL may cut a write in two.
local poison = require "spec.torture.poison"
local system = require "system"

local handler = {}
local log, process, fails

--- args: log, a path; poison: whether there is any.
function handler.setup(args)
  log = assert(io.open(args.log, "ab"))
  fails = args.poison and poison.is or function() return false end
  local file = assert(io.open("/proc/self/stat"))
  process = file:read "*l":match "^%d+"
  file:close()
end

function handler.teardown()
  log:close()
end

local function write(what, record)
  log:write(("%-63s\n"):format(("%s %s %d %d %s %s %d %.3f"):format(what, process,
    record.partition, record.offset, record.key, record.value, record.attempt,
    system.gettime())))
  log:flush()
end

function handler.handle(record)
  write("start", record)
  system.sleep(0.001)
  if fails(record.key, tonumber(record.value)) then
    write("fail", record)
    error("poison", 0)
  end
  write("end", record)
end

return handler
