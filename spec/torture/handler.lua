-- The handler of the crash test: writes down that it starts, sleeps 1 ms, and
-- writes down that it ends, each by one write(2) to a file opened for
-- appending, before it goes on. spec/torture/history.lua reads the lines:
--
--   start|end PROCESS PARTITION OFFSET KEY NUMBER SECONDS
--
-- NUMBER is the record's value: the how manieth of its key it is. Every line
-- has 64 bytes: none crosses a page, where SIGKILL may cut a write in two.
local system = require "system"

local handler = {}
local log, process

function handler.setup(args)
  log = assert(io.open(args.log, "ab"))
  local file = assert(io.open("/proc/self/stat"))
  process = file:read "*l":match "^%d+"
  file:close()
end

function handler.teardown()
  log:close()
end

local function write(what, record)
  log:write(("%-63s\n"):format(("%s %s %d %d %s %s %.3f"):format(what, process,
    record.partition, record.offset, record.key, record.value, system.monotime())))
  log:flush()
end

function handler.handle(record)
  write("start", record)
  system.sleep(0.001)
  write("end", record)
end

return handler
