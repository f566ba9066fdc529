-- One run of the test of guarantees: records flow, a group handles them and
-- produces, faults befall it; books.lua judges what came out.
local base = require "spec.torture.base"
local books = require "spec.guarantees.books"
local flow = require "spec.torture.flow"
local helper = require "spec.support.helper"
local journal = require "spec.guarantees.journal"
local member = require "spec.support.member"
local story = require "spec.guarantees.story"
local strand = require "strand"
local system = require "system"

local run = setmetatable({}, { __index = base })
run.__index = run

local PARTITIONS, KEYS = 3, 500
local BACKLOG = 5000          -- records that wait, at least
local WORKERS = 4
local SESSION = 2             -- seconds
local INTERVAL = 0.5          -- seconds between commits
local TRANSACTION_TIMEOUT = 6 -- seconds
local LEAST, MOST = 100, 750  -- records of a transaction
local WINDOWS = 2000          -- covered and not ended, of a partition, at most once
local UNSURE = 5              -- seconds in which an output is acknowledged, also the first
local WORKING = 100           -- records by which a process shows that it works
local LIMIT = base.LIMIT

-- What must be 0 at the end of a run, besides what its delivery allows. 'over'
-- counts faults that cost more of a partition than two windows, 'unexplained'
-- losses that no fault explains.
local NOUGHTS = { "lost", "doubled", "aborted_visible", "inversions", "over", "unexplained",
  "started_twice", "missing" }
local ALLOWED = {
  at_least_once = { doubled = true, started_twice = true },
  at_most_once = { lost = true },
  exactly_once = { started_twice = true },
}

--- name: of the figures; delivery: the consumer's; records: at least so many.
function run.new(name, delivery, seed, records)
  local self = setmetatable({ name = name, delivery = delivery, records = records, seed = seed,
    flows = true, fault = 0, faults = 0, kills = 0, allowed = 0, over = 0, unexplained = 0,
    excused = {}, gone = 0, told = 0, children = 0 }, run)
  math.randomseed(seed)
  self.folder = helper.folder()
  self.admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
  self.topics = { source = helper.topic(PARTITIONS), first = helper.topic(PARTITIONS),
    second = helper.topic(PARTITIONS, { ["max.message.bytes"] = tostring(story.LIMIT) }),
    letters = helper.topic(1) }
  self.group = helper.name "group"
  self.journal = journal.new(self.folder .. "/journal")
  self.flow = flow.new(self.topics.source, seed, KEYS, BACKLOG)
  self.traps = self.folder .. "/trap.so"
  local ok = os.execute(("cc -std=gnu11 -shared -fPIC -DTRAPS='\"%s\"' -o %s spec/support/trap.c")
    :format(self.folder, self.traps))
  assert(ok == true or ok == 0, "trap.c does not compile")
  self:say("seed %d, %s", seed, self.folder)
  return self
end

-- ---- while it runs ---------------------------------------------------------------

-- What was excused is not started any more: without it the flow would end when
-- as much is lost as a backlog has.
function run:serve()
  self.journal:read()
  self.flow:serve(self.journal.started + self.gone, self.flows)
  local now = system.monotime()
  if now < self.told + 5 then return end
  self.told = now
  self:say("... fault %d of %d, %d records started", self.fault, self.faults, self.journal.started)
end

-- ---- processes -------------------------------------------------------------------

local function with_delivery(self, options, slot)
  if self.delivery == "exactly_once" then
    options.transactional_id = self.group .. "-" .. slot
    options.transaction_records = math.random(LEAST, MOST)
    options.transaction_timeout = TRANSACTION_TIMEOUT
  else
    options.commit_interval = INTERVAL
    -- a batch that is refused for one of its records is sent again record by
    -- record: the one case, without transactions, in which order breaks
    options.producer.kafka = { ["batch.size"] = story.LIMIT - 4000 }
  end
  if self.delivery ~= "at_most_once" then options.retry = story.RETRY end
  return options
end

--- A process that is a member. slot: which one of them, when there are several.
function run:spawn(slot)
  slot = slot or 1
  local options = with_delivery(self, { group = self.group, topics = { self.topics.source },
    workers = WORKERS, delivery = self.delivery, producer = {},
    dead_letter = { topic = self.topics.letters }, exhausted = "dead_letter",
    handler = "spec.guarantees.handler", handler_args = { log = self.journal.path,
      first = self.topics.first, second = self.topics.second },
    kafka = { ["session.timeout.ms"] = SESSION * 1000 } }, slot)
  local child = member.spawn(options, self.traps)
  child.slot = slot
  return child
end

local function story_of(child)
  return ("%d ended: %s%s"):format(child.pid, child:output(), child:errors())
end

--- Waits until all of them handle more than they have until now.
function run:wait_working(...)
  for _, child in ipairs { ... } do
    local handled = self.journal.processes
    local wanted = (handled[child.pid] or 0) + WORKING
    self:wait("work of " .. child.pid, function()
      assert(not child:status(), not child:status() or story_of(child))
      return (handled[child.pid] or 0) >= wanted
    end)
  end
end

--- SIGKILL.
function run:kill(child)
  local since = system.gettime()
  child:signal "KILL"
  local status = child:wait(LIMIT)
  assert(status == 128 + 9, story_of(child))
  self.kills = self.kills + 1
  self.journal:read()
  self:excuse(since)
end

--- SIGTERM, and what such an end promises.
function run:stop(child)
  child:signal "TERM"
  self:wait("the end of " .. child.pid, function() return child:status() end)
  assert(child:status() == 0, story_of(child))
  child:says("ended OK", 0)
end

-- ---- traps -----------------------------------------------------------------------

--- The next call of this name (spec/support/trap.c) stops; waits until it has.
function run:catch(name, child)
  local caught = self.folder .. "/" .. name .. ".caught"
  helper.write(self.folder .. "/" .. name, "")
  self:wait("a call of " .. name, function()
    assert(not child:status(), not child:status() or story_of(child))
    return helper.read(caught)
  end)
end

--- It goes on.
function run:release(name)
  os.remove(self.folder .. "/" .. name .. ".caught")
end

-- ---- brokers ---------------------------------------------------------------------

--- Waits until it is up and has all its copies again.
function run:await_broker()
  self:await_start()
  self:await_copies()
end

-- ---- at most once: what may be lost -----------------------------------------------

local function committed(self)
  return helper.eventually(LIMIT, function()
    return (self.admin:group_offsets(self.group, { self.topics.source }))
  end)
end

-- Records that the commit covers, and whose handler has not ended or whose
-- outputs may be under way: each is marked with the fault.
local function excuse_partition(self, entry, since)
  local excused, count = self.excused[entry.partition] or {}, 0
  self.excused[entry.partition] = excused
  local highest = entry.offset - 1
  if entry.metadata and entry.metadata ~= "" then
    highest = assert(strand.metadata.decode(entry.offset, entry.metadata)).highest
  end
  for offset = 0, highest do
    local ended = self.journal:ended(entry.partition, offset)
    if not excused[offset] and (not ended or ended >= since)
      and member.covers(entry, offset) then
      excused[offset], count = self.fault, count + 1
    end
  end
  self.gone = self.gone + count
  self.allowed = self.allowed + math.min(count, WINDOWS)
end

--- A fault that began at that time may have cost what was covered then and not
--- done, if a record starts at most once.
function run:excuse(since)
  if self.delivery ~= "at_most_once" then return end
  self:await_empty()
  self.journal:read()
  for _, entry in ipairs(committed(self)) do
    if entry.offset and entry.offset >= 0 then excuse_partition(self, entry, since - UNSURE) end
  end
end

-- ---- the end ---------------------------------------------------------------------

local function drained(self)
  if self.flow.acked < self.flow.sent then return false end
  local ends, at = {}, {}
  for _, place in ipairs(self.admin:list_offsets({ topics = { self.topics.source },
    offset = "latest" }) or {}) do
    ends[place.partition] = place.offset
  end
  for _, entry in ipairs(committed(self)) do at[entry.partition] = entry.offset end
  for partition = 0, PARTITIONS - 1 do
    if not ends[partition] or at[partition] ~= ends[partition] then return false end
  end
  return true
end

-- As long as it takes, while something happens.
local function wait_drained(self)
  repeat
    local wanted = self.journal.started + WORKING
    local over = self:wait("the end of the records", function()
      return drained(self) and "over" or self.journal.started >= wanted and "more"
    end)
  until over == "over"
end

--- What is left is handled, and everybody stops.
function run:finish(...)
  self.flows = false
  while self.flow.sent < self.records do
    self.flow:more(math.min(2000, self.records - self.flow.sent))
    self:wait("the sending", function() return self.flow.sent - self.flow.acked < 10000 end)
  end
  local living = { ... }
  -- at most once a commit covers what has not started, and is taken back at the
  -- end of a process: then another one goes on
  repeat
    wait_drained(self)
    for _, child in ipairs(living) do self:stop(child) end
    local over = drained(self)
    if not over then living = { self:spawn() } end
  until over
  self.journal:read()
  self.books = books.read(self.topics, self.delivery, self.folder)
end

-- Each lost record must be one of a window that a fault hit, and these have no
-- more than so many of a partition.
local function explain_losses(self)
  local counts = {}
  for _, record in ipairs(self.books.losses) do
    local excused = self.excused[record.partition]
    local fault = excused and excused[record.offset]
    local name = fault and fault .. "/" .. record.partition
    if not fault then
      self.unexplained = self.unexplained + 1
    else
      counts[name] = (counts[name] or 0) + 1
      if counts[name] == WINDOWS + 1 then self.over = self.over + 1 end
    end
  end
end

local function settle(self)
  local found = self.books
  self.lost, self.doubled, self.inversions = found.lost, found.doubled, found.inversions
  self.aborted_visible, self.missing = found.aborted_visible, self.flow.acked - found.count
  self.started_twice = self.journal.again
  if self.delivery ~= "at_most_once" then return end
  self.doubled = self.doubled + self.started_twice
  explain_losses(self)
end

local function print_figures(self, ...)
  for _, name in ipairs { ... } do print(("figure %s_%s %d"):format(self.name, name, self[name])) end
end

--- Prints the figures; returns whether all is well.
function run:result()
  local well = self.books ~= nil
  if not well then return false end
  settle(self)
  self.unseen, self.records = self.books.unseen, self.books.count
  for _, note in pairs(self.books.notes) do self:say("%s", note) end
  for _, name in ipairs(NOUGHTS) do
    if self[name] ~= 0 and not ALLOWED[self.delivery][name] then
      well = false
      self:say("WRONG: %s %d, and not 0", name, self[name])
    end
  end
  self.lost_allowed, self.handled_again = self.allowed, self.started_twice
  print_figures(self, "lost", "doubled", "aborted_visible", "inversions", "records", "kills",
    "faults")
  if self.delivery == "at_most_once" then
    print_figures(self, "lost_allowed")
  else
    print_figures(self, "handled_again", "unseen")
  end
  return well and self.lost <= (self.delivery == "at_most_once" and self.allowed or 0)
end

function run:close()
  member.end_all()
  self.flow:close()
  self.admin:close()
end

return run
