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
local system = require "system"

local recorder = {}
local log, slow, fail, gates, process

function recorder.setup(args)
  log = assert(io.open(args.log, "ab"))
  slow, fail, gates = args.slow, args.fail, args.gates
  local file = assert(io.open("/proc/self/stat"))
  process = file:read "*l":match "^%d+"
  file:close()
end

function recorder.teardown()
  log:close()
end

local function write(what, record)
  log:write(("%s\t%s\t%s\t%d\t%d\t%s\t%d\n"):format(what, process, record.topic,
    record.partition, record.offset, record.key or "", record.attempt))
  log:flush()
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local commands = {}

function commands.gate(name)
  while not exists(gates .. "/" .. name) do system.sleep(0.005) end
end

function commands.fifo(path)
  io.open(path):close()
end

function commands.fail(times, record)
  if record.attempt <= tonumber(times) then return "asked to fail" end
end

local function work(record)
  if slow then system.sleep(slow * math.random()) end
  if fail and record.attempt == 1 and math.random() < fail then return "bad luck" end
  local name, argument = (record.value or ""):match "^(%a+) (.*)"
  if name and commands[name] then return commands[name](argument, record) end
end

function recorder.handle(record)
  write("start", record)
  local problem = work(record)
  if problem then
    write("failed", record)
    return nil, problem
  end
  write("done", record)
end

return recorder
