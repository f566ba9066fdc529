-- reconcile.lua: applies one event of an order
--
-- Each worker thread loads this file into a Lua state of its own: what stands
-- here is shared with no other worker, and needs no lock. What happened is
-- told to the main program by a journal, one file for each worker, a line for
-- each attempt; audit.lua reads them when all is over.

local core = require "strand.core"

local FAILING = 0.05                   -- of the first attempts
local SHORTEST, LONGEST = 0.001, 0.009 -- seconds

local journal -- this worker's own file

local function open_journal(context)
  local name = ("%s-%d"):format(context.args.journal, context.worker)
  local file = assert(io.open(name, "a"))
  file:setvbuf "line"
  return file
end

-- What takes time: a database, a payment service. The thread waits, others go on.
local function call_other_services()
  core.wait({}, SHORTEST + math.random() * (LONGEST - SHORTEST))
end

local reconcile = {}

-- Returns: the event is done. Raises: it is tried again later, and the later
-- events of this order wait for it. Other orders do not.
function reconcile.handle(record, context)
  journal = journal or open_journal(context)
  local start = core.now()
  call_other_services()
  local failed = record.attempt == 1 and math.random() < FAILING
  journal:write(("%s %s %d %s %.6f %.6f\n"):format(record.key, record:header "number",
    record.attempt, failed and "failed" or "done", start, core.now()))
  if failed then
    error(("%s of order %s: no answer"):format(record:header "type", record.key))
  end
end

function reconcile.teardown()
  if journal then journal:close() end
end

return reconcile
