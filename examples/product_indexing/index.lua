-- index.lua: brings one event into the index
--
-- The index is another service: the handler waits for it, and writes down when
-- it began and ended, into a journal of its own that audit.lua reads. plain.c
-- does the same in C. A worker thread waits alone; a coroutine, in local mode,
-- lets others go on meanwhile.

local core = require "strand.core"

local journal, work -- this state's own file; seconds

local index = {}

local function note(record, start)
  journal:write(("%s %d %d %.6f %.6f\n"):format(record.key, record.partition, record.offset, start,
    core.now()))
end

function index.handle(record, context)
  journal = journal or assert(io.open(("%s-%d"):format(context.args.journal, context.worker), "a"))
  work = work or context.args.work
  local start = core.now()
  core.wait({}, work)
  note(record, start)
end

function index.teardown()
  if journal then assert(journal:close()) end
end

-- -> the handler of local mode
function index.in_coroutines(args)
  journal, work = assert(io.open(args.journal, "a")), args.work
  return function(record, context)
    local start = core.now()
    context:sleep(work)
    note(record, start)
  end
end

return index
