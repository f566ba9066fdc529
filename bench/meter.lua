-- meter.lua: time and CPU of the middle of a run
--
--   local meter = meters.new(records)
--   meter.count()       a record has ended, in this thread
--   meter.over()        the last has
--   meter.text()        "records N", "seconds S", "cpu C" (the process), "lua_cpu C" (the
--                       calling thread): from a fifth of the records to four fifths; then
--                       "all_records N" and "all_cpu C": the process, until the last one
--   meter.print()       prints it

local core = require "strand.core"
local probe = require "probe"

local meters = {}

function meters.new(records)
  local first, last = math.floor(records / 5), math.floor(records * 4 / 5)
  local meter, marks, ended, at = {}, {}, 0, first

  local function mark()
    local thread, process = probe.cpu()
    marks[ended] = { time = core.now(), lua = thread, process = process }
    at = at == first and last or records
  end

  function meter.count()
    ended = ended + 1
    if ended == at then mark() end
  end

  function meter.ended() return ended end
  function meter.over() return ended >= records end

  function meter.text()
    local a, b, all = marks[first], marks[last], marks[records]
    assert(ended == records, "not every record ended once")
    return ("records %d\nseconds %.6f\ncpu %.6f\nlua_cpu %.6f\nall_records %d\nall_cpu %.6f"):format(
      last - first, b.time - a.time, b.process - a.process, b.lua - a.lua, records, all.process)
  end

  function meter.print() print(meter.text()) end

  return meter
end

return meters
