-- What a run of the crash test (spec/torture/run.lua) and one of the test of
-- guarantees (spec/guarantees/run.lua) have alike. The run has a name, a group,
-- an admin, and serve(): what it does while it waits.
local helper = require "spec.support.helper"
local system = require "system"

local base = {}

base.LIMIT = 120 -- seconds that anything may take

function base:say(text, ...)
  print(("%s: " .. text):format(self.name, ...))
end

--- Waits until the condition is true, and returns what it returned. Records
--- flow meanwhile.
function base:wait(what, condition)
  local deadline = system.monotime() + base.LIMIT
  return helper.eventually(base.LIMIT + 10, function()
    self:serve()
    local value = condition()
    if not value and system.monotime() > deadline then
      error(("%s: not within %d s"):format(what, base.LIMIT), 0)
    end
    return value
  end)
end

--- Lets a random time pass: when the next fault comes. Returns how long.
function base:moment(low, high)
  local seconds = low + (high - low) * math.random()
  local at = system.monotime() + seconds
  self:wait("a moment", function() return system.monotime() >= at end)
  return seconds
end

--- Waits until the group has no member, so that nobody commits.
function base:await_empty()
  self:wait("an empty group", function()
    local list = self.admin:groups({ self.group }, base.LIMIT)
    return list and list[1] and (list[1].state == "Empty" or list[1].state == "Dead")
  end)
end

--- Restarts a broker without waiting for it. how: "" | "kill".
function base:start_broker(node, how)
  self.restarting = helper.spawn([[os.exit(os.execute(arg[1]) == true)]],
    ("exec scripts/kafka restart %s %s > /dev/null"):format(node, how))
end

local function has_all_copies(known)
  for _, topic in pairs(known.topics) do
    for _, partition in ipairs(topic.partitions) do
      if not partition.leader or #partition.isr < #partition.replicas then return false end
    end
  end
  return true
end

--- Waits until it is up.
function base:await_start()
  self:wait("a broker", function() return self.restarting:status() end)
  assert(self.restarting:status() == 0, self.restarting:errors())
end

--- Waits until all brokers are there, with all copies.
function base:await_copies()
  local _, nodes = helper.broker():gsub("[^,]+", "")
  self:wait("all copies", function()
    local known = self.admin:describe(nil, base.LIMIT)
    return known and #known.brokers == nodes and has_all_copies(known)
  end)
end

--- The variants that the command line names, one after another; ends the
--- process. play(name, seed) -> did it hold?
function base.main(variants, play)
  io.stdout:setvbuf "line"
  local seed = tonumber(os.getenv "SEED") or os.time()
  local passed, failed = 0, 0
  for _, name in ipairs(arg) do
    assert(variants[name], "no such variant: " .. name)
    print(("%s on Kafka %s at %s"):format(name, os.getenv "KAFKA_VERSION", helper.broker()))
    if play(name, seed) then
      passed = passed + 1
    else
      failed = failed + 1
      print("failed: " .. name)
    end
  end
  print(("%d passed, %d failed"):format(passed, failed))
  os.exit(failed == 0 and 0 or 1)
end

return base
