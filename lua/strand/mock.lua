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
-- close()              -> true

local core = require "strand.core"
local object = require "strand.object"
local options = require "strand.options"

local check = options.check

local mock = {}
local methods, lasting = {}, {}

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
  return self.core:create_topic(name, check.whole(partitions, "partitions", 1, MOST_PARTITIONS))
end

function methods:down(broker)
  return self.core:down(check_brokers(broker))
end

function methods:up(broker)
  return self.core:up(check_brokers(broker))
end

function methods:rtt(broker, seconds)
  broker = check_brokers(broker)
  return self.core:rtt(broker, check.seconds(seconds, "seconds"))
end

-- The next 'count' requests of this kind fail: mock:fail("OffsetCommit", "NOT_COORDINATOR", 2)
function methods:fail(request, code, count)
  request, code = check.name(request, "request"), check.name(code, "code")
  return self.core:fail(request, code, check.whole(count, "count", 1, 10000, 1))
end

-- Without a broker the partition has no leader.
function methods:leader(topic, partition, broker)
  topic = check.topic(topic)
  partition = check.whole(partition, "partition", 0, MOST_PARTITIONS)
  return self.core:leader(topic, partition, check_brokers(broker) or -1)
end

function methods:coordinator(group, broker)
  group = check.name(group, "group")
  return self.core:coordinator(group, check_broker(broker))
end

function lasting:close()
  if self.core:state() ~= "closed" then self.core:close() end
  return true
end

local class = object.class("mock", "strand.Mock", methods, lasting)

local LIMITS = "strand mock: in this process, for tests: 5 MiB a partition, no transactions\n"

local said = false

local function say_limits()
  if said then return end
  said = true
  io.stderr:write(LIMITS)
end

function mock.open(given)
  object.refuse_before_fork "mock"
  local self, message, code = object.open(class, {}, core.mock(options.mock(given)))
  if not self then return nil, message, code end
  self.bootstrap_servers = self.core:bootstrap_servers()
  say_limits()
  return self
end

return mock
