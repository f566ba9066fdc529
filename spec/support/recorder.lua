-- A handler that writes down what it does, one line a write to a file opened
-- for appending, so that the lines of many threads and processes stand in the
-- order of what happened. spec/support/audit.lua reads them.
--
-- handler_args: log (the file), and for every record slow (seconds at most,
-- at random) and fail (the share of first attempts that fail, 0 to 1), and
-- gates (a folder). A record's value may ask for more:
--
--   gate NAME     returns when the gates have a file of this name
--   fifo PATH     opens that FIFO: blocked inside C until somebody writes to it
--   fail N        the first N attempts fail
--
-- In local mode several consumers may share this module: what is theirs comes
-- with the context.
local gate = require "spec.support.gate"

local process

local function this_process()
  local file = assert(io.open("/proc/self/stat"))
  process = file:read "*l":match "^%d+"
  file:close()
  return process
end

local function write(what, record, args)
  local log = assert(io.open(args.log, "ab"))
  log:write(("%s\t%s\t%s\t%d\t%d\t%s\t%d\n"):format(what, process or this_process(), record.topic,
    record.partition, record.offset, record.key or "", record.attempt))
  log:close() -- one write(): lines of several workers do not mix
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local commands = {}

function commands.gate(name, _, context)
  while not exists(context.args.gates .. "/" .. name) do gate.sleep(context, 0.005) end
end

function commands.fifo(path)
  io.open(path):close()
end

function commands.fail(times, record)
  if record.attempt <= tonumber(times) then return "asked to fail" end
end

local function work(record, context)
  local args = context.args
  if args.slow then gate.sleep(context, args.slow * math.random()) end
  if args.fail and record.attempt == 1 and math.random() < args.fail then return "bad luck" end
  local name, argument = (record.value or ""):match "^(%a+) (.*)"
  if name and commands[name] then return commands[name](argument, record, context) end
end

return function(record, context)
  write("start", record, context.args)
  local problem = work(record, context)
  if problem then
    write("failed", record, context.args)
    return nil, problem
  end
  write("done", record, context.args)
end
