-- Producer torture on three brokers, of which one at a time is killed: what is
-- acknowledged is there, nothing is there twice, and each key is in order. Who
-- reads it back is a program of its own (spec/support/tool.c).
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"
local system = require "system"

local killed = {}

local NODES, PARTITIONS, KEYS = 3, 6, 200
local PACE = 2000    -- records a second
local LIMIT = 120    -- seconds that anything may take

killed.FIGURES = { "kills", "accepted", "acknowledged", "failed", "uncertain", "unresolved", "lost",
  "doubled", "inversions", "unwritten_but_there", "misplaced", "renewed" }

-- What must be 0.
killed.NOUGHTS = { "unresolved", "lost", "doubled", "inversions", "unwritten_but_there", "misplaced" }

function killed.is_well(result)
  for _, name in ipairs(killed.NOUGHTS) do
    if result[name] > 0 then return false end
  end
  return true
end

local run = {}
run.__index = run

-- ---- sending -----------------------------------------------------------------------

local function resolve(self, report)
  local number = tonumber(report.key:match "%d+$")
  assert(self.fate[number] == "out", "a second report of record " .. report.key)
  self.out = self.out - 1
  if not report.error then
    self.fate[number] = { partition = report.partition, offset = report.offset }
  else
    self.fate[number] = report.certain and "not written" or "may be written"
    self.failed = self.failed + 1
    if not report.certain then self.uncertain = self.uncertain + 1 end
  end
end

local function open(self)
  self.producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = helper.broker(), ["linger.ms"] = 2 },
    partition_key = function(record) return record.key:match "^k%d+" end,
    log = function() end,
    on_event = function(event) if event.type == "renewed" then self.renewed = self.renewed + 1 end end,
    on_delivery = function(report) resolve(self, report) end,
  })
end

-- The record's number is in its key, that its report has it; its value is
-- what the reader prints.
local function send(self)
  local number, key = self.accepted + 1, "k" .. math.random(KEYS)
  local ok, message, code = self.producer:send { topic = self.topic, key = key .. " " .. number,
    value = key .. " " .. number }
  if not ok then
    assert(code == "QUEUE_FULL", message)
    return false
  end
  self.accepted, self.out, self.fate[number] = number, self.out + 1, "out"
  return true
end

-- At the pace, until 'is_over'.
local function flow(self, is_over)
  local began, before = system.monotime(), self.accepted
  while not is_over() do
    assert(system.monotime() - began < LIMIT, "nothing happens")
    local due = (system.monotime() - began) * PACE
    while self.accepted - before < due and send(self) do end
    self.producer:poll(0.01)
  end
end

-- ---- what befalls it -----------------------------------------------------------------

local function has_all_copies(self)
  local known = self.admin:describe({ topics = { self.topic } }, LIMIT)
  local topic = known and known.topics[self.topic]
  if not topic or not topic.partitions or #known.brokers < NODES then return false end
  for _, partition in ipairs(topic.partitions) do
    if not partition.leader or #partition.isr < #partition.replicas then return false end
  end
  return true
end

local function seconds(self, most)
  local till = system.monotime() + most * math.random()
  flow(self, function() return system.monotime() >= till end)
end

-- It dies while records flow, and is back, with all its copies, before the next.
local function kill(self, i)
  local node = ("%s.%d"):format(os.getenv "STRAND_KAFKA_NAME", (i - 1) % NODES + 1)
  local back = helper.spawn([[os.exit(os.execute(arg[1]) == true)]],
    ("exec scripts/kafka restart %s kill > /dev/null"):format(node))
  flow(self, function() return back:status() ~= nil end)
  assert(back:status() == 0, back:errors())
  flow(self, function() return has_all_copies(self) end)
  self.say(("kill %d: %d accepted, %d out, %d failed"):format(i, self.accepted, self.out, self.failed))
end

-- ---- what is there ---------------------------------------------------------------------

-- One value a line: the line's number, from 0, is the offset.
local function values_of(self, partition)
  local path = helper.folder() .. "/" .. partition
  member.tool_to(path, "read", self.topic, partition, "uncommitted")
  return io.lines(path)
end

local function read_back(self, result)
  local seen, last = {}, {}
  for partition = 0, PARTITIONS - 1 do
    local offset = 0
    for value in values_of(self, partition) do
      local key, number = value:match "^(%S+) (%d+)$"
      number = tonumber(number)
      local fate = self.fate[number]
      if seen[number] then result.doubled = result.doubled + 1 end
      seen[number] = true
      if number < (last[key] or 0) then result.inversions = result.inversions + 1 end
      last[key] = number
      if fate == "not written" then result.unwritten_but_there = result.unwritten_but_there + 1 end
      if type(fate) == "table" and (fate.partition ~= partition or fate.offset ~= offset) then
        result.misplaced = result.misplaced + 1
      end
      offset = offset + 1
    end
  end
  return seen
end

local function compare(self, result)
  for _, name in ipairs(killed.FIGURES) do result[name] = self[name] or 0 end
  local seen = read_back(self, result)
  for number = 1, self.accepted do
    local fate = self.fate[number]
    if fate == "out" then result.unresolved = result.unresolved + 1
    elseif type(fate) == "table" then
      result.acknowledged = result.acknowledged + 1
      if not seen[number] then result.lost = result.lost + 1 end
    end
  end
  return result
end

--- Kills so often, and sends at least so many. -> the figures
function killed.run(seed, kills, records, say)
  math.randomseed(seed)
  local self = setmetatable({ say = say or function() end, kills = kills, accepted = 0, out = 0,
    failed = 0, uncertain = 0, renewed = 0, fate = {} }, run)
  self.topic = helper.topic(PARTITIONS, { ["min.insync.replicas"] = 2 })
  self.admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
  open(self)
  for i = 1, kills do
    seconds(self, 2)
    kill(self, i)
  end
  flow(self, function() return self.accepted >= records end)
  assert(self.producer:flush(LIMIT))
  self.producer:close()
  self.admin:close()
  return compare(self, {})
end

return killed
