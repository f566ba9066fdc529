-- mock.lua: the options of strand.mock, and what its methods take
--
-- The flat table of 'open': brokers, topics = { { topic, partitions }, ... },
-- has_log.

local common = require "strand.options.common"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, seconds, fields = schema.whole, schema.seconds, schema.fields

local MOST_BROKERS = 16

local mock = {}

local mock_topic = fields {
  "partitions", whole { min = 1, max = common.MOST_PARTITIONS, required = true },
}

mock.fields = fields {
  "brokers", whole { min = 1, max = MOST_BROKERS, default = 3, doc = "brokers of the cluster" },
  "topics", topics.creation { entry = mock_topic, doc = "topics that exist from the start" },
  "log", common.log "`function(level, facility, message)`, called by `strand.mock` and the methods",
}

-- -> flat table for C, { log } for Lua
function mock.open(given)
  local checked = common.optional(mock.fields, given)
  return {
    brokers = checked.brokers, topics = checked.topics or {}, has_log = checked.log ~= nil,
  }, { log = checked.log }
end

-- Faults --------------------------------------------------------------------

local topic = topics.name_kind { required = true }
local partitions = whole { min = 1, max = common.MOST_PARTITIONS, required = true }
local partition = whole { min = 0, max = common.MOST_PARTITIONS, required = true }
local one_broker = whole { min = 1, max = MOST_BROKERS, required = true }
local any_broker = whole { min = 1, max = MOST_BROKERS }
local delay = seconds { min = 0, max = common.DAY, required = true }
local count = whole { min = 1, max = 10000, default = 1 }

function mock.create_topic(name, number)
  return schema.argument(topic, name, "topic"), schema.argument(partitions, number, "partitions")
end

-- A broker, or nil: all of them.
function mock.brokers(broker)
  return schema.argument(any_broker, broker, "broker")
end

function mock.rtt(broker, given)
  return mock.brokers(broker), schema.argument(delay, given, "seconds")
end

function mock.fail(request, code, times)
  return common.name(request, "request"), common.name(code, "code"),
    schema.argument(count, times, "count")
end

-- A broker, or nil: none.
function mock.leader(name, number, broker)
  return schema.argument(topic, name, "topic"), schema.argument(partition, number, "partition"),
    mock.brokers(broker)
end

function mock.coordinator(group, broker)
  return common.name(group, "group"), schema.argument(one_broker, broker, "broker")
end

return mock
