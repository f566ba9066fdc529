-- The handler of the test of guarantees: two outputs for each record, to two
-- topics, with the record's key. Their value is "NUMBER ATTEMPT PROCESS":
-- which one of its key the record is, and who produced it. It writes down what
-- it does (spec/torture/lines.lua).
local lines = require "spec.torture.lines"
local story = require "spec.guarantees.story"
local system = require "system"

local WORK = 0.001 -- seconds

local handler = {}
local args, log, large

--- args: log, a path; first, second: topics.
function handler.setup(given)
  args, log = given, lines.open(given.log)
  large = (" "):rep(story.LIMIT)
end

function handler.teardown()
  log:close()
end

function handler.handle(record, context)
  log:write("start", record)
  local kind = story.of(record.key, tonumber(record.value))
  local value = ("%s %d %s"):format(record.value, record.attempt, log.process)
  context:produce { topic = args.first, key = record.key, value = value }
  context:produce { topic = args.second, key = record.key,
    value = kind == "refused" and value .. large or value }
  system.sleep(WORK)
  if kind == "fails" and record.attempt == 1 then
    log:write("fail", record)
    error("the first attempt", 0)
  end
  log:write("end", record)
end

return handler
