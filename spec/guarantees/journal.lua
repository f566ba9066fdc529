-- What the handlers wrote down (handler.lua), read while they go on.
--
--   starts     lines of a first attempt; of each process in processes[pid]
--   started    records that have started at least once
--   again      starts of a record that had started before: first attempts
local journal = {}
journal.__index = journal

local LINE = 64 -- bytes

function journal.new(path)
  return setmetatable({ path = path, at = 0, processes = {}, partitions = {}, starts = 0,
    started = 0, again = 0 }, journal)
end

local function entry(self, partition, offset)
  local list = self.partitions[partition] or {}
  self.partitions[partition] = list
  local record = list[offset] or {}
  list[offset] = record
  return record
end

local function start(self, record, pid)
  self.starts = self.starts + 1
  self.processes[pid] = (self.processes[pid] or 0) + 1
  if record.started then
    self.again = self.again + 1
  else
    self.started = self.started + 1
  end
  record.started = true
end

local function add(self, line)
  local what, pid, partition, offset, attempt, time =
    line:match "^(%a+) (%d+) (%d+) (%d+) %S+ %d+ (%d+) (%S+) *\n$"
  assert(what, "a broken line: " .. line)
  local record = entry(self, tonumber(partition), tonumber(offset))
  if what ~= "start" then
    record.ended = tonumber(time)
  elseif tonumber(attempt) == 1 then
    start(self, record, tonumber(pid))
  end
end

--- Reads what was written since the last time, whole lines. Returns itself.
function journal:read()
  local file = io.open(self.path, "rb")
  if not file then return self end
  file:seek("set", self.at)
  local text = file:read "*a"
  file:close()
  text = text:sub(1, #text - #text % LINE)
  self.at = self.at + #text
  for at = 1, #text, LINE do add(self, text:sub(at, at + LINE - 1)) end
  return self
end

--- When the handler of a record ended for the last time, or nil.
function journal:ended(partition, offset)
  local list = self.partitions[partition]
  local record = list and list[offset]
  return record and record.ended
end

return journal
