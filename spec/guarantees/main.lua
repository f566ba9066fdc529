-- The test of guarantees: main.lua VARIANT... beside a real broker
-- (scripts/torture). KILLS, RECORDS and SEED stand in the environment. Each
-- variant ends with its figures; the last line is "N passed, N failed".
local base = require "spec.torture.base"
local helper = require "spec.support.helper"
local run = require "spec.guarantees.run"
local system = require "system"

local BROKER = os.getenv "STRAND_KAFKA_NAME"
local FROZEN = 7 -- seconds: past the session, and the transaction's timeout
local NODES = 3  -- of a cluster

-- ---- faults: each is given the only process, and returns who goes on -------------

local faults = {}

local function next_life(self, child)
  self:kill(child)
  return self:spawn()
end

--- SIGKILL at a random moment.
function faults.kill(self, child)
  self:moment(0, 1.5)
  return next_life(self, child)
end

-- What its outputs wait for: the commit of the transaction that has them and
-- the offsets, or of the offsets.
local function commit_of(self)
  return self.delivery == "exactly_once" and "commit" or "offsets"
end

--- SIGKILL with its outputs sent and nothing committed.
function faults.kill_before_commit(self, child)
  local name = commit_of(self)
  self:catch(name, child)
  child = next_life(self, child)
  self:release(name)
  return child
end

local function restart(how)
  return function(self, child)
    local since = system.gettime()
    self:start_broker(BROKER, how)
    self:await_broker()
    return child, since
  end
end

faults.restart, faults.broker_killed = restart "", restart "kill"

--- The broker is gone when offsets are sent to it.
function faults.broker_killed_in_offsets(self, child)
  local since = system.gettime()
  self:catch("offsets", child)
  helper.kafka "kill"
  self:release "offsets"
  self:start_broker(BROKER, "")
  self:await_broker()
  return child, since
end

--- The broker is frozen when something is committed.
function faults.broker_frozen(self, child)
  local since, name = system.gettime(), commit_of(self)
  self:catch(name, child)
  helper.kafka "pause"
  self:release(name)
  self:moment(1, FROZEN + 2)
  helper.kafka "resume"
  return child, since
end

--- All threads of the process stand still, until others have given it up.
function faults.frozen(self, child)
  local since = system.gettime()
  child:signal "STOP"
  self:moment(FROZEN, FROZEN + 2)
  child:signal "CONT"
  return child, since
end

-- ---- plans -----------------------------------------------------------------------

-- 'make test' has no time for more.
local SHORT = { "kill", "kill_before_commit", "broker_killed_in_offsets" }

local function times(plan, name, count)
  for _ = 1, count do plan[#plan + 1] = name end
end

local function shuffle(plan)
  for i = #plan, 2, -1 do
    local j = math.random(i)
    plan[i], plan[j] = plan[j], plan[i]
  end
  return plan
end

-- So many kills of the process, and what else there is, by chance.
local function plan_of(kills)
  if kills <= #SHORT then return SHORT end
  local plan, some = {}, math.max(1, kills // 10)
  times(plan, "kill", kills - kills // 4)
  times(plan, "kill_before_commit", kills // 4)
  times(plan, "restart", some)
  times(plan, "broker_killed", 2 * some)
  times(plan, "broker_killed_in_offsets", some)
  times(plan, "broker_frozen", some)
  times(plan, "frozen", some)
  return shuffle(plan)
end

-- What a fault of the world cost is known when nothing runs.
local function take_stock(self, child, since)
  self:wait_working(child)
  if self.delivery ~= "at_most_once" then return child end
  self:stop(child)
  self:excuse(since)
  return self:spawn()
end

local function befall(self, name, child)
  local before = self.journal.again
  self:wait_working(child)
  self:moment(0, 1)
  local living, since = faults[name](self, child)
  if since then living = take_stock(self, living, since) end
  self:say("fault %d: %s; %d records started again until now", self.fault, name,
    self.journal.again - before)
  return living
end

--- One process at a time.
local function alone(self, kills)
  local plan = plan_of(kills)
  local child = self:spawn()
  self.faults = #plan
  for i, name in ipairs(plan) do
    self.fault = i
    child = befall(self, name, child)
  end
  self:wait_working(child)
  self:finish(child)
end

-- By turns a member is killed and asked to go, and at every second time one of
-- three brokers is away.
local function leave(self, child, i)
  local away = i % 2 == 0
  if away then
    self:start_broker(BROKER .. "." .. i // 2 % NODES + 1, "kill")
    self:moment(0, 2)
  end
  if i % 4 < 2 then self:kill(child) else self:stop(child) end
  if away then self:await_broker() end
end

--- Two members that come and go, on a cluster whose brokers die one at a time.
local function churn(self, kills)
  local members = { self:spawn(1), self:spawn(2) }
  self.faults = 2 * kills
  for i = 1, self.faults do
    self.fault = i
    local slot = i % 2 + 1
    self:wait_working(members[1], members[2])
    self:moment(0, 1)
    leave(self, members[slot], i)
    members[slot] = self:spawn(slot)
    self:say("fault %d: %d records started again until now", i, self.journal.again)
  end
  self:wait_working(members[1], members[2])
  self:finish(members[1], members[2])
end

local variants = {
  amo = { delivery = "at_most_once", play = alone },
  outputs = { delivery = "at_least_once", play = alone },
  outputs_cluster = { delivery = "at_least_once", play = churn },
  eos = { delivery = "exactly_once", play = alone },
  eos_kafka4 = { delivery = "exactly_once", play = alone },
  eos_cluster = { delivery = "exactly_once", play = churn },
}

local function play(name, seed)
  local kills = tonumber(os.getenv "KILLS") or 20
  local records = tonumber(os.getenv "RECORDS") or 100000
  local self = run.new(name, variants[name].delivery, seed, records)
  local ok, message = xpcall(function() variants[name].play(self, kills) end,
    debug.traceback)
  if not ok then self:say("%s", message) end
  local well = self:result() and ok
  self:close()
  return well
end

base.main(variants, play)
