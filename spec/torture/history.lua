-- What happened, from two sources: the lines of the handlers (handler.lua),
-- and what an outsider reads of the group's committed offsets and payloads.
--
--   lost               acknowledged to the producer, and never handled to the end
--   unfinished         covered by a commit, and not handled to the end: would be lost
--   inversions         handled for the first time before the one of its key before it had
--                      been handled to the end
--   overlaps           started while another of its key was in a handler
--   went_back          covered by a commit, and no longer by a later one
--   repeated_covered   started although a commit covered it
--   repeats            starts of records that had been started before
--   unexcused          those of them that no fault explains
--
-- A record is covered when it is below the committed offset, or done
-- according to the payload. What is kept are the records above the committed
-- offset: memory does not grow with the run.
local strand = require "strand"

local history = {}
history.__index = history

local LINE = 64 -- bytes
local LAST = 0.02 -- seconds: a handler that had been called when the loss came writes its start

function history.new(path)
  return setmetatable({ path = path, at = 0, partitions = {}, keys = {}, processes = {},
    starts = 0, done = 0, repeats = 0, inversions = 0, overlaps = 0, unfinished = 0,
    went_back = 0, repeated_covered = 0, fenced = 0, notes = {} }, history)
end

local function entry(table, name, make)
  local found = table[name]
  if not found then
    found = make()
    table[name] = found
  end
  return found
end

local function new_partition()
  -- by offset: who started it last, whether it is done, covered, excused
  return { base = 0, top = -1, starter = {}, done = {}, covered = {}, excused = {} }
end

local function new_process()
  -- surprises: repeats of what it had started that no fault excuses (so far)
  return { starts = 0, ends = 0, seconds = {}, surprises = 0, places = {} }
end

local function new_key()
  return { first = 0, done = 0 }
end

-- The first of each kind says where to look.
local function wrong(self, what, ...)
  self[what] = self[what] + 1
  self.notes[what] = self.notes[what] or ("%s: "):format(what) .. table.concat({ ... }, " ")
end

function history:process(pid)
  return entry(self.processes, pid, new_process)
end

function history:partition(number)
  return entry(self.partitions, number, new_partition)
end

local function repeated(self, partition, offset)
  self.repeats = self.repeats + 1
  if partition.excused[offset] then
    partition.excused[offset] = nil
  else
    local starter = self:process(partition.starter[offset])
    starter.surprises = starter.surprises + 1
  end
end

local function started(self, process, number, partition, offset, key, name, place)
  if partition.covered[offset] or offset < partition.base then
    return wrong(self, "repeated_covered", name, place, offset)
  end
  if partition.starter[offset] then
    repeated(self, partition, offset)
  else
    if number ~= key.first + 1 or key.done < number - 1 then
      wrong(self, "inversions", name, number, "after", key.first, "done", key.done)
    end
    key.first = math.max(key.first, number)
  end
  if key.open then
    wrong(self, "overlaps", name, number, "in", process, "and", key.open)
  end
  partition.starter[offset], key.open = process, process
end

local function ended(self, process, number, partition, offset, key)
  if key.open == process then key.open = nil end
  key.done = math.max(key.done, number)
  if offset >= partition.base and not partition.done[offset] then
    partition.done[offset] = true
    self.done = self.done + 1
  end
end

local function measure(process, what, place, time)
  process.first, process.last = process.first or time, time
  process.places[place] = true
  if what == "start" then
    process.starts = process.starts + 1
  else
    process.ends = process.ends + 1
    local second = math.floor(time)
    process.seconds[second] = (process.seconds[second] or 0) + 1
  end
end

local function add(self, line)
  local what, pid, place, offset, name, number, time =
    line:match "^(%a+) (%d+) (%d+) (%d+) (%S+) (%d+) (%S+) *\n$"
  assert(what, "a broken line: " .. line)
  pid, place, offset, number = tonumber(pid), tonumber(place), tonumber(offset), tonumber(number)
  local process = self:process(pid)
  time = tonumber(time)
  if process.held then
    process.held[#process.held + 1] = line
    return
  elseif process.fenced and time < process.fenced then
    if what == "start" then self.fenced = self.fenced + 1 end
    return
  end
  measure(process, what, place, time)
  local partition, key = self:partition(place), entry(self.keys, name, new_key)
  if what == "start" then
    self.starts = self.starts + 1
    started(self, pid, number, partition, offset, key, name, place)
  else
    ended(self, pid, number, partition, offset, key)
  end
end

--- Reads what was written since the last time. Returns itself.
function history:read()
  local file = io.open(self.path, "rb")
  if not file then return self end
  file:seek("set", self.at)
  local text = file:read "*a"
  file:close()
  local whole = #text - #text % LINE
  for at = 1, whole, LINE do add(self, text:sub(at, at + LINE - 1)) end
  self.at = self.at + whole
  return self
end

-- ---- what is committed -------------------------------------------------------

local function cover(self, place, partition, offset)
  if not partition.done[offset] then wrong(self, "unfinished", place, offset) end
end

local function rise(self, place, partition, base)
  if base < partition.base then
    wrong(self, "went_back", place, partition.base, "to", base)
    return
  end
  for offset = partition.base, base - 1 do
    if not partition.covered[offset] then cover(self, place, partition, offset) end
    partition.starter[offset], partition.done[offset] = nil, nil
    partition.covered[offset], partition.excused[offset] = nil, nil
  end
  partition.base = base
end

local function open_offsets(decoded)
  local open = {}
  for _, range in ipairs(decoded.incomplete) do
    for offset = range[1], range[2] do open[offset] = true end
  end
  return open
end

local function mark(self, place, partition, highest, open)
  for offset = partition.base, math.max(highest, partition.top) do
    local covered = offset <= highest and not open[offset]
    if covered and not partition.covered[offset] then
      cover(self, place, partition, offset)
      partition.covered[offset] = true
    elseif not covered and partition.covered[offset] then
      wrong(self, "went_back", place, offset, "above", partition.base)
    end
  end
  partition.top = math.max(highest, partition.top)
end

--- Takes what an outsider has just read: a list of { partition, offset,
--- metadata }. What is written down until now counts as written before it.
function history:committed(list)
  self:read()
  for _, found in ipairs(list) do
    if found.offset and found.offset >= 0 then
      local partition = self:partition(found.partition)
      local highest, open = found.offset - 1, {}
      if found.metadata and found.metadata ~= "" then
        local decoded = assert(strand.metadata.decode(found.offset, found.metadata))
        highest, open = decoded.highest, open_offsets(decoded)
      end
      rise(self, found.partition, partition, found.offset)
      mark(self, found.partition, partition, highest, open)
    end
  end
end

-- ---- faults ---------------------------------------------------------------------

--- A process is dead, or frozen: what it has in handlers overlaps nothing.
--- Frozen, it may handle on when it wakes, until it hears that it lost its
--- partitions; what it does then is worth nothing, and only counted. Its lines
--- are held back until it is known when that was.
function history:gone(pid, frozen)
  self:read():process(pid).held = frozen and {}
  for _, key in pairs(self.keys) do
    if key.open == pid then key.open = nil end
  end
end

--- It heard of its loss at this time, and is a member like others again.
function history:back(pid, time)
  local process = self:read():process(pid)
  local held = process.held
  process.held, process.fenced = nil, time + LAST
  for _, line in ipairs(held) do add(self, line) end
end

--- How many records it started that no commit covers, and one of them; but not
--- those of an earlier fault. From now on they may be started once more.
function history:uncovered(pid)
  local count, example = 0, nil
  for place, partition in pairs(self.partitions) do
    for offset, starter in pairs(partition.starter) do
      if starter == pid and not partition.covered[offset] and not partition.excused[offset] then
        count, example = count + 1, place .. "/" .. offset
        partition.excused[offset] = true
      end
    end
  end
  return count, example
end

--- Its records a second: in its best second, or over its life if that was short.
function history:rate(pid)
  local process = self:process(pid)
  if process.ends == 0 then return 0 end
  local best = process.ends / math.max(process.last - process.first, 0.001)
  if process.last - process.first > 1 then
    for _, count in pairs(process.seconds) do best = math.max(best, count) end
  end
  return best
end

return history
