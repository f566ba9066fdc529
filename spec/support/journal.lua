-- What handlers note down, for spec/support/fixture.lua to read. A module has no
-- state here that is a consumer's: in local mode several of them share it.
local system = require "system"

local journal = {}

local crosses_pcall = require("strand.loop.adapter").yields_across_pcall

local function note(folder, what, record, context)
  local file = assert(io.open(folder .. "/journal", "a"))
  file:write(table.concat({ what, record.topic, record.partition, record.offset,
    record.attempt, context.worker, ("%.6f"):format(system.monotime()),
    record.key and "=" .. record.key or "" }, "\t"), "\n")
  file:close() -- one write(): lines of several workers do not mix
end

--- act(record, context), and what it gives; notes that it is entered and left.
function journal.around(folder, act, record, context)
  note(folder, "enter", record, context)
  local ok, outcome, reason
  if crosses_pcall or context.worker ~= 0 then
    ok, outcome, reason = pcall(act, record, context)
  else -- what it raises is left by nobody
    ok, outcome, reason = true, act(record, context)
  end
  note(folder, "leave", record, context)
  if not ok then error(outcome, 0) end
  return outcome, reason
end

return journal
