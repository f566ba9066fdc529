-- What handlers wrote down (spec/support/recorder.lua), against what was sent
--
--   lost         sent, and never done
--   repeated     done more than once
--   inversions   started after a later record of its shard, or before an
--                earlier one of it was done
--   overlaps     started while another of its shard was in its handler
--
-- A shard is what may be handled by one handler at a time: a key of a
-- partition, or the partition.
local helper = require "spec.support.helper"

local audit = {}
audit.__index = audit

--- A log to give to recorder, and its reader. 'ordering' is the consumer's.
function audit.new(ordering)
  local folder = helper.folder()
  return setmetatable({
    path = folder .. "/log", gates = folder, ordering = ordering or "key", at = 0, rest = "",
    list = {}, starts = 0, ends = 0, done = {}, started = {}, processes = {},
  }, audit)
end

local function parse(line)
  local what, process, topic, partition, offset, key, attempt =
    line:match "^(%a+)\t(%d+)\t([^\t]+)\t(%d+)\t(%d+)\t([^\t]*)\t(%d+)$"
  assert(what, "a broken line: " .. line)
  return { what = what, process = tonumber(process), topic = topic,
    partition = tonumber(partition), offset = tonumber(offset), key = key,
    attempt = tonumber(attempt), id = topic .. "/" .. partition .. "/" .. offset }
end

local function add(self, entry)
  local process = self.processes[entry.process] or { starts = 0, ends = 0 }
  self.processes[entry.process] = process
  self.list[#self.list + 1] = entry
  if entry.what == "start" then
    self.starts = self.starts + 1
    process.starts = process.starts + 1
    self.started[entry.id] = (self.started[entry.id] or 0) + 1
  elseif entry.what == "done" then
    process.ends = process.ends + 1
    if not self.done[entry.id] then self.ends = self.ends + 1 end
    self.done[entry.id] = (self.done[entry.id] or 0) + 1
  end
end

--- Reads what was written since the last time. Returns itself: 'list' has the
--- entries, 'starts' and 'ends' count (a record is done once), 'started[id]'
--- and 'done[id]' how often, 'processes[pid]' has starts and ends.
function audit:read()
  local file = io.open(self.path, "rb")
  if not file then return self end
  file:seek("set", self.at)
  local text = file:read "*a"
  file:close()
  self.at = self.at + #text
  text = self.rest .. text
  local last = 1
  for line, stop in text:gmatch "([^\n]*)\n()" do
    add(self, parse(line))
    last = stop
  end
  self.rest = text:sub(last)
  return self
end

--- Waits until 'count' records are done; serves the consumers that follow.
function audit:wait(limit, count, ...)
  local ok = pcall(helper.eventually, limit, function() return self:read().ends >= count end, ...)
  if not ok then
    error(("%d of %d records done within %g s"):format(self.ends, count, limit), 2)
  end
end

--- Waits until 'id' has started, 'times' times.
function audit:wait_start(limit, id, times, ...)
  helper.eventually(limit, function()
    return (self:read().started[id] or 0) >= times
  end, ...)
end

--- Lets handlers through a gate (see recorder.lua).
function audit:open(name)
  helper.write(self.gates .. "/" .. name, "")
end

local function shard_of(self, entry)
  local partition = entry.topic .. "/" .. entry.partition
  if self.ordering == "partition" then return partition end
  return partition .. "/" .. entry.key
end

--- Counts what went wrong in the order of things. What a killed process left
--- open does not count; with 'alone' each process is looked at by itself, as
--- records that a killed one had done may come again.
local function disorder(self, alone, killed)
  local shards, inversions, overlaps = {}, 0, 0
  for _, entry in ipairs(self.list) do
    local name = shard_of(self, entry)
    if alone then name = entry.process .. "/" .. name end
    local shard = shards[name] or { last = -1 }
    shards[name] = shard
    if entry.what ~= "start" then
      shard.open = nil
      shard.undone = entry.what == "failed" and entry.offset or nil
    else
      if shard.open and shard.open.process ~= killed then overlaps = overlaps + 1 end
      if entry.offset < shard.last or (shard.undone and shard.undone ~= entry.offset) then
        inversions = inversions + 1
      end
      shard.last = math.max(shard.last, entry.offset)
      shard.open = entry
    end
  end
  return inversions, overlaps
end

--- How it went for the records of 'sent' (audit.send), as a table to compare
--- with audit.GOOD. options: alone, killed (a process).
function audit:result(sent, options)
  options = options or {}
  self:read()
  local result = { lost = 0, repeated = 0, inversions = 0, overlaps = 0 }
  for _, record in ipairs(sent) do
    local times = self.done[record.id]
    if not times then result.lost = result.lost + 1
    elseif times > 1 then result.repeated = result.repeated + 1 end
  end
  if self.ordering ~= "unordered" then
    result.inversions, result.overlaps = disorder(self, options.alone, options.killed)
  end
  return result
end

audit.GOOD = { lost = 0, repeated = 0, inversions = 0, overlaps = 0 }

-- A record that was sent twice is acknowledged without its offset; within a
-- partition, reports come in the order of offsets.
local function fill_offsets(reports)
  for step = 1, -1, -2 do
    local last = {}
    for i = step > 0 and 1 or #reports, step > 0 and #reports or 1, step do
      local report = reports[i]
      local before = last[report.partition]
      report.offset = report.offset or before and before + step
      last[report.partition] = report.offset
    end
  end
end

--- Sends 'count' records; 'make(i)' gives the fields of each but its topic.
--- Returns the list of { id, key, partition, offset } by partition and offset.
function audit.send(topic, count, make)
  local sent, reports = {}, {}
  local producer = assert(require "strand".producer {
    kafka = { ["bootstrap.servers"] = helper.broker(), ["linger.ms"] = 1 },
    on_delivery = function(report)
      assert(not report.error, report.error)
      reports[#reports + 1] = report
    end,
  })
  for i = 1, count do
    local record = make(i)
    record.topic = topic
    assert(producer:send(record))
  end
  assert(producer:flush(30))
  producer:close()
  assert(#reports == count, "a record without its report")
  fill_offsets(reports)
  for i, report in ipairs(reports) do
    sent[i] = { id = ("%s/%d/%d"):format(report.topic, report.partition, report.offset),
      key = report.key, partition = report.partition, offset = report.offset }
  end
  table.sort(sent, function(a, b)
    if a.partition ~= b.partition then return a.partition < b.partition end
    return a.offset < b.offset
  end)
  return sent
end

return audit
