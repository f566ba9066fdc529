-- index.lua: brings one event into the index
--
-- The index is another service: the worker waits for it, and writes down when
-- it began and ended, into a journal of its own that audit.lua reads. plain.c
-- does the same in C.

local core = require "strand.core"

local journal, work -- this worker's own file; seconds

local index = {}

function index.handle(record, context)
  journal = journal or assert(io.open(("%s-%d"):format(context.args.journal, context.worker), "a"))
  work = work or context.args.work
  local start = core.now()
  core.wait({}, work)
  journal:write(("%s %d %d %.6f %.6f\n"):format(record.key, record.partition, record.offset, start,
    core.now()))
end

function index.teardown()
  if journal then assert(journal:close()) end
end

return index
