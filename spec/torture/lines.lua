-- What a handler of the crash test, or of the test of guarantees, writes down
-- of itself: each line by one write(2) to a file opened for appending, before it
-- goes on.
--
--   start|end|fail PROCESS PARTITION OFFSET KEY NUMBER ATTEMPT SECONDS
--
-- NUMBER is the record's value: the how manieth of its key it is. SECONDS are
-- of the clock that brokers have too. Every line has 64 bytes: none crosses a
-- page, where SIGKILL may cut a write in two.
local system = require "system"

local lines = {}
lines.__index = lines

--- The file at 'path', and whose lines they are: 'process' is this one's pid.
function lines.open(path)
  local file = assert(io.open "/proc/self/stat")
  local process = file:read "*l":match "^%d+"
  file:close()
  return setmetatable({ file = assert(io.open(path, "ab")), process = process }, lines)
end

--- what: "start" | "end" | "fail".
function lines:write(what, record)
  self.file:write(("%-63s\n"):format(("%s %s %d %d %s %s %d %.3f"):format(what, self.process,
    record.partition, record.offset, record.key, record.value, record.attempt,
    system.gettime())))
  self.file:flush()
end

function lines:close()
  self.file:close()
end

return lines
