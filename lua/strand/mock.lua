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
local nginx = require "strand.nginx"
local object = require "strand.object"
local check = require "strand.options.mock"
local dispatcher = require "strand.dispatcher"

local mock = {}
local methods, lasting = {}, {}

local function served(self, ...)
  self.dispatcher:serve() -- what librdkafka has logged meanwhile
  return ...
end

function methods:create_topic(name, partitions)
  return served(self, self.core:create_topic(check.create_topic(name, partitions)))
end

function methods:down(broker)
  return served(self, self.core:down(check.brokers(broker)))
end

function methods:up(broker)
  return served(self, self.core:up(check.brokers(broker)))
end

function methods:rtt(broker, seconds)
  return served(self, self.core:rtt(check.rtt(broker, seconds)))
end

-- The next 'count' requests of this kind fail: mock:fail("OffsetCommit", "NOT_COORDINATOR", 2)
function methods:fail(request, code, count)
  return served(self, self.core:fail(check.fail(request, code, count)))
end

-- Without a broker the partition has no leader.
function methods:leader(topic, partition, broker)
  topic, partition, broker = check.leader(topic, partition, broker)
  return served(self, self.core:leader(topic, partition, broker or -1))
end

function methods:coordinator(group, broker)
  return served(self, self.core:coordinator(check.coordinator(group, broker)))
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
  if log then return self.dispatcher:log(NOTICE, "mock", LIMITS) end
  if said then return end
  said = true
  io.stderr:write("strand mock: ", LIMITS, "\n")
end

function mock.open(given)
  nginx.check_open "mock"
  local flat, own = check.open(given)
  local self, message, code = object.open(class, {}, core.mock(flat))
  if not self then return nil, message, code end
  self.bootstrap_servers = self.core:bootstrap_servers()
  self.dispatcher = dispatcher.of_log(self.core, own.log)
  say_limits(self, own.log)
  return served(self, self)
end

return mock
