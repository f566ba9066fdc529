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
local system = require "system"

local folder, journal

local function note(what, record, context)
  journal:write(table.concat({ what, record.topic, record.partition, record.offset,
    record.attempt, context.worker, ("%.6f"):format(system.monotime()),
    record.key and "=" .. record.key or "" }, "\t"), "\n")
  journal:flush() -- one write(): lines of several workers do not mix
end

local commands = {}

function commands.gate(_, _, name)
  gate.wait(folder, name)
end

function commands.take(_, _, seconds) system.sleep(tonumber(seconds)) end

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

function commands.fifo(_, _, name) io.open(folder .. "/" .. name):close() end

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

return {
  setup = function(args)
    folder = args
    journal = assert(io.open(folder .. "/journal", "a"))
    journal:setvbuf("full", 4096)
  end,
  handle = function(record, context)
    note("enter", record, context)
    local ok, outcome, reason = pcall(obey, record, context)
    note("leave", record, context)
    if not ok then error(outcome, 0) end
    return outcome, reason
  end,
}
