-- The handler of the test of guarantees: two outputs for each record, to two
-- topics, with the record's key. Their value is "NUMBER ATTEMPT PROCESS":
-- which one of its key the record is, and who produced it.
--
-- It writes down what it does, as spec/torture/handler.lua does, in lines of 64
-- bytes:
--
--   start|end|fail PROCESS PARTITION OFFSET KEY NUMBER ATTEMPT SECONDS
local story = require "spec.guarantees.story"
local system = require "system"

local WORK = 0.001 -- seconds

local handler = {}
local args, log, process, large

--- args: log, a path; first, second: topics.
function handler.setup(given)
  args, log = given, assert(io.open(given.log, "ab"))
  local file = assert(io.open "/proc/self/stat")
  process = file:read "*l":match "^%d+"
  file:close()
  large = (" "):rep(story.LIMIT)
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

function handler.handle(record, context)
  write("start", record)
  local kind = story.of(record.key, tonumber(record.value))
  local value = ("%s %d %s"):format(record.value, record.attempt, process)
  context:produce { topic = args.first, key = record.key, value = value }
  context:produce { topic = args.second, key = record.key,
    value = kind == "refused" and value .. large or value }
  system.sleep(WORK)
  if kind == "fails" and record.attempt == 1 then
    write("fail", record)
    error("the first attempt", 0)
  end
  write("end", record)
end

return handler
