-- How long after its failure does a record come again?
local probe = require "probe"
local strand = require "strand"

return function(record)
  if record.attempt > 1 then return probe.note(record.value) end
  probe.mark(record.value)
  return strand.retry(0.010, "once more")
end
