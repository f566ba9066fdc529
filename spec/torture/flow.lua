-- Records that flow while the crash test kills: the backlog is filled up again
-- and again, so that the consumer always has work however slow it is.
local helper = require "spec.support.helper"
local poison = require "spec.torture.poison"
local strand = require "strand"
local system = require "system"

local flow = {}
flow.__index = flow

local KEYS = 5000       -- unless it is told another number
local BACKLOG = 20000   -- the same; about 3 s of work
local AT_ONCE = 2000

--- A producer to a topic; 'seed' chooses among so many keys.
function flow.new(topic, seed, keys, backlog)
  local self = setmetatable({ topic = topic, seed = seed, keys = keys or KEYS,
    backlog = backlog or BACKLOG, sent = 0, acked = 0, poison = 0, ends = {},
    numbers = {} }, flow)
  self.producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = helper.broker(), ["linger.ms"] = 5 },
    log = function() end, -- brokers come and go
    on_delivery = function(report)
      assert(not report.error, report.error)
      self.acked = self.acked + 1
      local offset = report.offset or -1 -- of one that was sent twice it is not known
      self.ends[report.partition] = math.max(self.ends[report.partition] or 0, offset + 1)
    end,
  })
  return self
end

function flow:send(key, partition)
  local number = (self.numbers[key] or 0) + 1
  local ok, message, code = self.producer:send { topic = self.topic, key = key,
    value = tostring(number), partition = partition }
  if code == "QUEUE_FULL" then return false end
  assert(ok, message)
  self.numbers[key] = number
  self.sent = self.sent + 1
  if poison.is(key, number) then self.poison = self.poison + 1 end
  return true
end

-- A generator of its own: how often it is asked depends on the machine, and
-- the moments of the faults shall not.
local function next_key(self)
  self.seed = (self.seed * 1103515245 + 12345) % 2147483648
  return "k" .. math.floor(self.seed / 256) % self.keys
end

function flow:more(count)
  for _ = 1, count do
    if not self:send(next_key(self)) then return end
  end
end

-- As many as the pace asks for since the last time.
local function keep_pace(self)
  local now = system.monotime()
  local count = math.floor(self.pace * (now - (self.paced or now)))
  if count > 0 or not self.paced then self.paced = now end
  self:more(count)
end

--- Serves the reports, and fills the backlog up if 'flows'. With a pace
--- (records a second) so many come, whatever the backlog: where much of it
--- cannot be done now.
function flow:serve(done, flows)
  if flows and self.pace then
    keep_pace(self)
  elseif flows and self.sent - done < self.backlog then
    self:more(AT_ONCE)
  end
  assert(self.producer:poll(0))
end

function flow:close()
  self.producer:close()
end

return flow
