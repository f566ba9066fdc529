-- The crash test: main.lua VARIANT... beside a real broker (scripts/torture).
-- KILLS, RECORDS and SEED stand in the environment, and for poison OUTAGE: how
-- many seconds the broker of dead letters is away. Each variant ends with its
-- figures; the last line is "N passed, N failed", variants.
local base = require "spec.torture.base"
local run = require "spec.torture.run"

local variants = {}

-- When the only member is killed: what it is doing then.
local MOMENTS = { "running", "closing", "running", "joining", "running", "running" }

-- After these who closes is killed as soon as it is told to end: where ends
-- are quick it would else be killed in one of many.
local CLOSING_TRIES = 3

local function kill_at(self, what, try)
  local options = { alone = true, what = "while " .. what }
  local child = self:spawn()
  if what == "joining" then
    self:moment(0, 1)
  else
    self:wait_working(child)
    self:moment(0.3, 3)
  end
  if what == "closing" then
    child:signal "TERM"
    if try <= CLOSING_TRIES then self:moment(0, 0.03) end -- most ends take less than 0.1 s
  end
  return self:kill(child, options)
end

-- The next fault of a process alone.
local function kill_next(self, i)
  self.fault = i
  -- Where it was faster than the signal the next one is killed.
  local try = 1
  while not kill_at(self, MOMENTS[(i - 1) % #MOMENTS + 1], try) do try = try + 1 end
end

--- A process alone is killed, and another takes its place.
local function plain(self)
  for i = 1, self.faults do kill_next(self, i) end
  self:finish {}
end

variants.plain, variants.kafka4 = plain, plain

--- The same with a thousand handlers that wait in an event loop: of the process,
--- or of each worker.
variants["local"], variants.async = plain, plain

--- The same with a fifth of the records poison, and the broker of their dead
--- letters away for a while, from the middle on.
local function poison(self)
  local middle = self.faults // 2 + 1
  for i = 1, self.faults do
    if i == middle then self:stop_letters(tonumber(os.getenv "OUTAGE") or 30) end
    kill_next(self, i)
  end
  self:await_letters()
  self:finish {}
end

variants.poison, variants.kafka4_poison = poison, poison

--- Without any fault each poison record has one dead letter.
function variants.poison_calm(self)
  self:handle_rest()
  assert(self.history.letters == self.flow.poison, "a record has two letters")
end

-- Every 2 s another member joins, or the older of two leaves.
local function churn()
  local system = require "system"
  local at, members, leaving = 0, {}, {}
  return function(self)
    for i = #leaving, 1, -1 do
      local status = leaving[i]:status()
      assert(not status or status == 0, leaving[i]:output() .. leaving[i]:errors())
      if status then table.remove(leaving, i) end
    end
    if system.monotime() < at then return end
    at = system.monotime() + 2
    if #members < 2 then
      members[#members + 1] = self:spawn()
    else
      local child = table.remove(members, 1)
      child:signal "TERM"
      leaving[#leaving + 1] = child
    end
    self.joined = members
  end
end

--- The same while other members join and leave.
function variants.members(self)
  self.churn = churn()
  for i = 1, self.faults do
    self.fault = i
    local child = self:spawn()
    self:wait_working(child)
    self:moment(0.3, 3)
    self:kill(child, { what = "among others" })
  end
  self.churn = nil
  self:finish(self.joined)
end

-- Brokers are restarted, mostly as after a crash; the member is killed by turns
-- before the broker is back, and after it worked on.
local function kill_around(self, i, node)
  local child = self:spawn()
  self:wait_working(child)
  self:moment(0.3, 2)
  self:restart(node, i % 5 == 4 and "" or "kill")
  self:moment(0, 3)
  if i % 2 == 1 then
    return self:kill(child, { alone = true, what = "without a broker" })
  end
  self:await_restart()
  self:wait_working(child)
  self:moment(0.3, 2)
  return self:kill(child, { alone = true, what = "after the broker came back" })
end

--- The only broker is restarted.
function variants.broker(self)
  for i = 1, self.faults do
    self.fault = i
    kill_around(self, i, os.getenv "STRAND_KAFKA_NAME")
  end
  self:finish {}
end

--- One of three brokers at a time dies and comes back.
function variants.cluster(self)
  for i = 1, self.faults do
    self.fault = i
    kill_around(self, i, os.getenv "STRAND_KAFKA_NAME" .. "." .. (i - 1) % 3 + 1)
  end
  self:finish {}
end

--- Two members; by turns one is frozen for longer than its session.
function variants.frozen(self)
  local one, other = self:spawn(), self:spawn()
  for i = 1, self.faults do
    self.fault = i
    self:wait_working(one, other)
    self:moment(0.3, 2)
    self:freeze(one, other)
    one, other = other, one
  end
  self:finish { one, other }
end

local function play(name, seed)
  local kills, records = tonumber(os.getenv "KILLS") or 20, tonumber(os.getenv "RECORDS") or 200000
  local self = run.new(name, seed, kills, records)
  local ok, message = xpcall(function()
    variants[name](self)
    return self
  end, debug.traceback)
  if not ok then self:say("%s", message) end
  local well = self:result() and ok
  self:close()
  if well then self:forget() end
  return well
end

base.main(variants, play)
