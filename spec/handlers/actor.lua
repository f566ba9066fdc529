-- A handler that does what its record's value says, and keeps a journal that
-- spec/support/fixture.lua reads. Commands stand between semicolons:
--
--   gate NAME    waits until the folder has a file of that name, or "all"
--   take S       takes so many seconds
--   fail N       fails in the first N attempts
--   retry S N    asks for a retry in S seconds in the first N attempts (1)
--   park WHY N   asks to be parked in the first N attempts (always)
--   skip WHY     asks to be skipped
--   letter WHY   asks to be sent as a dead letter
--   fifo NAME    blocks in C until somebody opens the FIFO for writing
--   leave        asks the consumer to stop
local gate = require "spec.support.gate"
local journal = require "spec.support.journal"

local commands = {}

function commands.gate(_, context, name) gate.wait(context, context.args, name) end

function commands.take(_, context, seconds) gate.sleep(context, tonumber(seconds)) end

function commands.fail(record, _, times)
  if record.attempt <= tonumber(times) then
    return nil, "attempt " .. record.attempt .. " fails"
  end
end

function commands.retry(record, context, seconds, times)
  if record.attempt <= tonumber(times or 1) then return context:retry(tonumber(seconds)) end
end

function commands.park(record, context, why, times)
  if record.attempt <= tonumber(times or 1000) then return context:park(why) end
end

function commands.skip(_, context, why) return context:skip(why) end

function commands.letter(_, context, why) return context:dead_letter(why) end

function commands.fifo(_, context, name) io.open(context.args .. "/" .. name):close() end

function commands.leave(_, context) context:stop_consumer() end

local function obey(record, context)
  for command in (record.value or ""):gmatch "[^;]+" do
    local name, first, second = command:match "^(%S+) ?(%S*) ?(%S*)"
    if second == "" then second = nil end
    if commands[name] then
      local outcome, reason = commands[name](record, context, first, second)
      if outcome ~= nil or reason ~= nil then return outcome, reason end
    end
  end
end

return function(record, context) return journal.around(context.args, obey, record, context) end
