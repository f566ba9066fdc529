-- mock.lua: a Kafka cluster inside the process, for demos and tests
--
-- librdkafka's own mock cluster. Used of strand.core:
--
-- core.mock(flat)      -> userdata | nil, message, code
-- state()              -> "running" | "closed" | "forked"
-- bootstrap_servers()  -> "127.0.0.1:1234,..."
-- create_topic(name, partitions)   down(broker | nil)   up(broker | nil)
-- rtt(broker | nil, seconds)   fail(request, code, count)
-- leader(topic, partition, broker | -1)   coordinator(group, broker)
--                      -> true | nil, message, code; C checks the brokers' numbers
-- next_log()           as the consumer's, with flat.has_log; after close() too
-- close()              -> true

local core = require "strand.core"
local object = require "strand.object"
local options = require "strand.options"
local pump = require "strand.pump"

local check = options.check

local mock = {}
local methods, lasting = {}, {}

local function served(self, ...)
  self.pump:serve() -- what librdkafka has logged meanwhile
  return ...
end

local MOST_BROKERS, MOST_PARTITIONS = 16, 10000

local function check_broker(broker)
  return check.whole(broker, "broker", 1, MOST_BROKERS)
end

-- A broker, or nil: all of them.
local function check_brokers(broker)
  if broker ~= nil then return check_broker(broker) end
end

function methods:create_topic(name, partitions)
  name = check.topic(name)
  return served(self, self.core:create_topic(name, check.whole(partitions, "partitions", 1, MOST_PARTITIONS)))
end

function methods:down(broker)
  return served(self, self.core:down(check_brokers(broker)))
end

function methods:up(broker)
  return served(self, self.core:up(check_brokers(broker)))
end

function methods:rtt(broker, seconds)
  broker = check_brokers(broker)
  return served(self, self.core:rtt(broker, check.seconds(seconds, "seconds")))
end

-- The next 'count' requests of this kind fail: mock:fail("OffsetCommit", "NOT_COORDINATOR", 2)
function methods:fail(request, code, count)
  request, code = check.name(request, "request"), check.name(code, "code")
  return served(self, self.core:fail(request, code, check.whole(count, "count", 1, 10000, 1)))
end

-- Without a broker the partition has no leader.
function methods:leader(topic, partition, broker)
  topic = check.topic(topic)
  partition = check.whole(partition, "partition", 0, MOST_PARTITIONS)
  return served(self, self.core:leader(topic, partition, check_brokers(broker) or -1))
end

function methods:coordinator(group, broker)
  group = check.name(group, "group")
  return served(self, self.core:coordinator(group, check_broker(broker)))
end

function lasting:close()
  if self.core:state() ~= "closed" then self.core:close() end
  return served(self, true)
end

local class = object.class("mock", "strand.Mock", methods, lasting)

local NOTICE = 5
local LIMITS = "in this process, for tests: 5 MiB a partition, no transactions"

local said = false

-- Once for each process; to a log of its own, each time.
local function say_limits(self, log)
  if log then return self.pump:log(NOTICE, "mock", LIMITS) end
  if said then return end
  said = true
  io.stderr:write("strand mock: ", LIMITS, "\n")
end

function mock.open(given)
  object.refuse_before_fork "mock"
  local flat, own = options.mock(given)
  local self, message, code = object.open(class, {}, core.mock(flat))
  if not self then return nil, message, code end
  self.bootstrap_servers = self.core:bootstrap_servers()
  self.pump = pump.of_log(self.core, own.log)
  say_limits(self, own.log)
  return served(self, self)
end

return mock
