-- One run of the crash test: a topic through which records flow, a group that
-- handles them, the faults that befall it, and what is counted.
local base = require "spec.torture.base"
local flow = require "spec.torture.flow"
local helper = require "spec.support.helper"
local history = require "spec.torture.history"
local letters = require "spec.torture.letters"
local member = require "spec.support.member"
local poison = require "spec.torture.poison"
local strand = require "strand"
local system = require "system"

local run = setmetatable({}, { __index = base })
run.__index = run

local WORKERS = 8
local IN_FLIGHT = 1000 -- in an event loop
local PARTITIONS = 8
local SESSION = 2     -- seconds
local LOOK = 1        -- seconds: how often librdkafka looks whether its session has ended
local INTERVAL = 0.5  -- seconds between commits
local UNCOMMITTED = 1.5 -- seconds: that interval, the commit's way, and a slow machine
local LIMIT = base.LIMIT
local PACE = 2000     -- records a second that come while no dead letter can go

-- What must be 0 at the end. 'over' counts faults with more uncovered records
-- than allowed, 'unclean' records that a clean stop left uncovered, 'again'
-- those that a run after everything handled.
local NOUGHTS = { "lost", "inversions", "overlaps", "repeated_covered", "unfinished", "went_back",
  "over", "unexcused", "unclean", "again", "attempts", "early", "resent", "awaited",
  "unlettered", "stalled" }

-- How handlers run: options of the consumer, how many at once.
local WAYS = {
  threads = { options = { workers = WORKERS }, at_once = WORKERS },
  ["local"] = { options = { workers = 0, max_in_flight = IN_FLIGHT, in_loop = true },
    loop = "cqueues", at_once = IN_FLIGHT },
  async = { options = { workers = 2, max_in_flight = IN_FLIGHT, loop = "cqueues" },
    loop = "cqueues", at_once = IN_FLIGHT },
}

--- name: of the variant; faults: how many; records: at least so many are sent.
--- A variant that is called poison has it, and a dead letter topic.
function run.new(name, seed, faults, records)
  local self = setmetatable({ name = name, faults = faults, records = records, fault = 0,
    kills = 0, allowed = 0, over = 0, unexcused = 0, unclean = 0, again = 0, lost = 0,
    children = {}, flows = true, looked = 0, told = 0, seen = 0, unanswered = 0,
    unlettered = 0, stalled = 0, kills_down = 0, looks_down = 0,
    healthy_down = 0 }, run)
  math.randomseed(seed)
  self.way = WAYS[name] or WAYS.threads
  self.topic, self.group = helper.topic(PARTITIONS), helper.name "group"
  self.log = helper.folder() .. "/log"
  if name:find "poison" then self.letters = letters.new(self.log .. ".letters") end
  self.history = history.new(self.log, self.letters and self.log .. ".letters")
  self.flow = flow.new(self.topic, seed)
  self.admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
  self:say("seed %d, log %s", seed, self.log)
  return self
end

-- ---- while it runs ---------------------------------------------------------------

--- Reads what is committed, and compares. A coordinator that kept us waiting
--- kept commits waiting as well: that is added up.
function run:look()
  local asked = system.monotime()
  local list = helper.eventually(LIMIT, function()
    return (self.admin:group_offsets(self.group, { self.topic }))
  end)
  local waited = system.monotime() - asked
  if waited > INTERVAL then
    self.unanswered = self.unanswered + waited
    self:say("the coordinator took %.1f s to answer", waited)
  end
  self.history:committed(list)
  if self.letters and self.letters:down() then self.looks_down = self.looks_down + 1 end
  self.looked = system.monotime()
end

local function progress(self)
  self:say("... fault %d of %d, %d records done", self.fault, self.faults, self.history.done)
  self.told = system.monotime()
end

-- The broker of dead letters is about to come back.
local function judge_outage(self, seconds)
  local healthy = self.history.healthy - self.healthy_before
  self.healthy_down = healthy // seconds
  if healthy == 0 then self.stalled = self.stalled + 1 end
  self.flow.pace = nil
  self:say("no dead letter could go for %.1f s: %d healthy records handled", seconds, healthy)
end

-- While a broker is away nobody asks it anything.
function run:serve()
  self.history:read()
  local back = self.letters and self.letters:serve()
  if back then judge_outage(self, back) end
  self.flow:serve(self.history.done, self.flows)
  if self.churn then self:churn() end
  local now = system.monotime()
  if not self.away and not self.quiet and now > self.looked + 1 then self:look() end
  if now > self.told + 5 then progress(self) end
end

-- ---- processes --------------------------------------------------------------------

--- A process that is a member of the group.
function run:spawn()
  local options = { group = self.group, topics = { self.topic },
    commit_interval = INTERVAL, handler = "spec.torture.handler",
    handler_args = { log = self.log, poison = self.letters ~= nil, loop = self.way.loop },
    kafka = { ["session.timeout.ms"] = SESSION * 1000 } }
  for name, value in pairs(self.way.options) do options[name] = value end
  if self.letters then
    options.retry = poison.RETRY
    self.letters:options(options)
  end
  local child = member.spawn(options)
  child.unanswered = self.unanswered -- before its time
  self.children[child.pid] = child
  return child
end

--- Waits until all of them handle more than they have until now.
function run:wait_working(...)
  for _, child in ipairs { ... } do
    local process = self.history:process(child.pid)
    local before = process.ends
    self:wait("work of " .. child.pid, function()
      assert(not child:status(), "it ended: " .. child:output() .. child:errors())
      return process.ends > before
    end)
  end
end

local function count(child, text)
  local _, times = child:output():gsub(text, "")
  return times
end

-- Without an answer of the coordinator a process works on until librdkafka
-- tells it of its loss: not when the session has ended, but when it looks the
-- next time (1.7 to 3.3 s after a broker was killed, where the session has 2).
-- What it did in vain comes again, perhaps to itself. Seconds, or nil where it
-- said nothing of the kind.
local function seconds_in_vain(child)
  local lost, failed = count(child, "event lost"), count(child, "event commit_failed")
  if lost + failed == 0 then return nil end
  return (SESSION + LOOK) * math.max(1, lost // PARTITIONS) -- a loss is told for each partition
end

-- How long after the broker went it was told.
local function told_of_loss(self, child)
  local at = child:output():match ".*event lost [^\n]* (%S+)\n"
  if not at or not self.broke then return "has had commits refused" end
  return ("lost its partitions %.1f s after the broker went"):format(at - self.broke)
end

-- Repeats of what a living process had started.
local function settle(self)
  for pid, process in pairs(self.history.processes) do
    local child, repeats = self.children[pid], process.surprises
    local in_vain = repeats > 0 and seconds_in_vain(child)
    process.surprises = 0
    if repeats > 0 and not in_vain then
      self.unexcused = self.unexcused + repeats
      self:say("%d records of %d came again, and no fault explains it", repeats, pid)
    elseif repeats > 0 then
      self:account(pid, repeats, in_vain, told_of_loss(self, child))
    end
  end
end

--- Records of a process that may come again: counts them, and says so.
function run:account(pid, uncovered, away, what)
  local all = self.history
  local process, rate = all:process(pid), all:rate(pid)
  local bound = math.floor(self.way.at_once + rate * (UNCOMMITTED + away))
  self.allowed = self.allowed + uncovered
  if uncovered > bound then self.over = self.over + 1 end
  self:say("fault %d: %d %s: %d handled, %.0f/s; not covered %d (at most %d); covered and repeated "
    .. "until now %d", self.fault, pid, what, process.handled, rate, uncovered, bound,
    all.repeated_covered)
end

-- Poison that waits for its next attempt, or for its letter to be taken.
local function account_waiting(self, waiting)
  self.allowed = self.allowed + waiting
  if waiting > 0 then self:say("fault %d: %d poison records waited", self.fault, waiting) end
end

--- SIGKILL. options: alone (it is the only member), what (it was doing). A broker
--- that is away is waited for. Returns whether it was alive to be killed.
function run:kill(child, options)
  child:signal "KILL"
  local at, time = system.monotime(), system.gettime()
  local down = self.letters and self.letters:down()
  local away = self.away and at - self.away or seconds_in_vain(child) or 0
  away = away + self.unanswered - child.unanswered
  local status = child:wait(LIMIT)
  local killed = status == 128 + 9
  assert(killed or status == 0, child:errors())
  self.history:gone(child.pid)
  if self.away then self:await_restart() end
  if options.alone then self:await_empty() end
  self:look()
  local uncovered, waiting = self.history:uncovered(child.pid)
  settle(self)
  account_waiting(self, waiting)
  if killed then
    local last = self.history:process(child.pid).last
    self.kills = self.kills + 1
    if down then self.kills_down = self.kills_down + 1 end
    self:account(child.pid, uncovered, away, ("killed %s, %s after its last record"):format(
      options.what, last and ("%d ms"):format((time - last) * 1000 // 1) or "never"))
  else
    self.unclean = self.unclean + uncovered
  end
  return killed
end

--- SIGTERM, and what such an end promises.
function run:stop(child, alone)
  child:signal "TERM"
  self:wait("the end of " .. child.pid, function() return child:status() end)
  assert(child:status() == 0, child:output() .. child:errors())
  child:says("ended OK", 0)
  self.history:gone(child.pid)
  if alone then self:await_empty() end
  self:look()
  local uncovered, waiting, example = self.history:uncovered(child.pid)
  self.unclean = self.unclean + uncovered
  account_waiting(self, waiting)
  if uncovered > 0 then
    self:say("%d stopped orderly: %d not covered, %s", child.pid, uncovered, example)
  end
end

-- All its threads stand still.
local function stopped(child)
  local threads = "/proc/" .. child.pid .. "/task"
  for name in require "lfs".dir(threads) do
    local stat = name:match "^%d+$" and helper.read(threads .. "/" .. name .. "/stat")
    if stat and not stat:match "%) T" then return false end
  end
  return true
end

--- SIGSTOP for longer than the session, and SIGCONT: what it still does is
--- worth nothing; the other has its partitions and goes on.
function run:freeze(child, other)
  local all = self.history
  child:signal "STOP"
  self:wait("a frozen process", function() return stopped(child) end)
  all:gone(child.pid)
  self:look()
  self:account(child.pid, all:uncovered(child.pid), 0, "frozen")
  local process = all:process(other.pid)
  process.places = {}
  self:wait("the other with all partitions", function()
    for partition = 0, PARTITIONS - 1 do
      if not process.places[partition] then return false end
    end
    return true
  end)
  self:moment(0, 1)
  self.quiet = true -- a commit may cover what is still held back
  all:hold()
  local woken, back = system.gettime(), nil
  child:signal "CONT"
  self:wait("its loss and another assignment", function()
    assert(not child:status(), "it ended: " .. child:output() .. child:errors())
    back = history.assigned_again(child:output(), woken)
    return back
  end)
  all:back(child.pid, back)
  self.quiet = false
  self:wait_working(child, other)
  self:look()
  settle(self)
end

-- ---- brokers ------------------------------------------------------------------------

--- Restarts the broker, or one of several, without waiting for it.
function run:restart(node, how)
  self.away, self.broke = system.monotime(), system.gettime()
  self:start_broker(node, how)
  self:say("%s is restarted %s", node, how == "" and "orderly" or "by SIGKILL")
end

--- Waits until it is up and has all its copies again.
function run:await_restart()
  self:await_start()
  local up = system.monotime() - self.away
  self:await_copies()
  self:say("it was up after %.1f s, and had all copies after %.1f s", up,
    system.monotime() - self.away)
  self.away = nil
end

--- The broker of dead letters dies, and comes back after so many seconds.
function run:stop_letters(seconds)
  self:say("no broker of dead letters for %d s", seconds)
  self.letters:stop(seconds)
  self.history:read()
  self.healthy_before = self.history.healthy
  self.flow.pace = PACE
end

--- Waits until it has come back.
function run:await_letters()
  self:wait("the broker of dead letters", function() return not self.letters:away() end)
end

-- ---- the end --------------------------------------------------------------------------

local function drained(self)
  return self.flow.acked == self.flow.sent and self.history.done == self.flow.acked
end

-- A run after everything gets one new record a partition, and handles nothing
-- else.
local function run_again(self)
  local child = self:spawn()
  for partition = 0, PARTITIONS - 1 do assert(self.flow:send("again" .. partition, partition)) end
  self:wait("the last records", function() return drained(self) end)
  self:stop(child, true)
  self.again = self.history:process(child.pid).starts - PARTITIONS
end

local function check_committed(self)
  for partition, last in pairs(self.flow.ends) do
    self.unclean = self.unclean + last - self.history:partition(partition).base
  end
end

--- What is left is handled, and then nothing is left.
function run:handle_rest()
  self.flows = false
  local child = self:spawn()
  while self.flow.sent < self.records do
    self.flow:more(math.min(2000, self.records - self.flow.sent))
    self.flow:serve(0, false)
  end
  self:wait("the end of the records", function() return drained(self) end)
  self:stop(child, true)
  check_committed(self)
  run_again(self)
  settle(self)
end

--- Stops cleanly in the middle of the flow, and ends. 'living' are members that
--- are still there.
function run:finish(living)
  for _, child in ipairs(living) do self:stop(child) end
  local child = self:spawn()
  self:wait_working(child)
  self:moment(0.3, 1)
  self:stop(child, true)
  self:handle_rest()
end

local function print_figures(self, figures)
  for _, figure in ipairs(figures) do
    local name = (self.name == "plain" and "" or self.name .. "_") .. figure[1]
    print(("figure crash_%s %d"):format(name, figure[2]))
  end
end

local function print_letters(self)
  local all = self.history
  print_figures(self, {
    { "poison_records", self.flow.poison }, { "unlettered", self.unlettered },
    { "letters", all.letters }, { "letters_again", all.letters - all.lettered },
    { "letters_of_other_attempts", all.attempts }, { "committed_before_letter", all.early },
    { "kills_while_down", self.kills_down }, { "commits_read_while_down", self.looks_down },
    { "healthy_per_second_while_down", self.healthy_down },
  })
end

--- Prints the figures; returns whether all is well.
function run:result()
  local all, well = self.history, true
  self.lost = self.flow.acked - all.done
  if self.letters then self.unlettered = self.flow.poison - all.lettered end
  for _, note in pairs(all.notes) do self:say("first of %s", note) end
  for _, name in ipairs(NOUGHTS) do
    local value = self[name] or all[name]
    if value ~= 0 then
      well = false
      self:say("WRONG: %s %d, and not 0", name, value)
    end
  end
  print_figures(self, {
    { "lost", self.lost }, { "inversions", all.inversions }, { "overlaps", all.overlaps },
    { "repeated_though_covered", all.repeated_covered },
    { "repeated_after_clean_stop", self.unclean + self.again },
    { "duplicates", all.repeats }, { "duplicates_allowed", self.allowed },
    { "kills", self.kills }, { "faults", self.fault }, { "records", self.flow.acked },
    { "fenced_handlings", all.fenced }, { "most_at_once", all.most },
  })
  if self.letters then print_letters(self) end
  if self.way.loop and all.most < self.way.at_once / 2 then
    well = false
    self:say("WRONG: %d handlers at once, of %d", all.most, self.way.at_once)
  end
  return well and all.repeats <= self.allowed
end

--- Removes what was written down.
function run:forget()
  os.remove(self.log)
  os.remove(self.log .. ".letters")
end

function run:close()
  member.end_all()
  self.flow:close()
  self.admin:close()
end

return run
