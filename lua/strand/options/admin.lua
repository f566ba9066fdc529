-- admin.lua: the options of strand.admin, and what its methods take
--
-- The flat table of 'open': kafka, has_log, has_oauth.

local common = require "strand.options.common"
local properties = require "strand.properties"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, fields = schema.whole, schema.fields

local admin = {}

admin.fields = fields {
  "kafka", properties.kind { role = "admin", needed = { "bootstrap.servers" },
    doc = "`bootstrap.servers` and whatever else librdkafka knows" },
  "oauth_token", common.oauth_token "called by a method when a token is due",
  "log", common.log "`function(level, facility, message)`, called by the methods",
}

-- -> flat table for C, { oauth_token, log } for Lua
function admin.open(given)
  local checked = schema.check(admin.fields, given, "")
  common.require_token(checked)
  return {
    kafka = checked.kafka,
    has_oauth = checked.oauth_token ~= nil, has_log = checked.log ~= nil,
  }, { oauth_token = checked.oauth_token, log = checked.log }
end

-- Topics and groups ---------------------------------------------------------

local new_topic = fields {
  "partitions", whole { min = 1, max = common.MOST_PARTITIONS, required = true, doc = "partitions" },
  "replication", whole { min = 1, max = 32767, default_doc = "the brokers'", doc = "replicas" },
  "config", properties.kind { optional = true, role = "topic", needed = {},
    doc = "the topic's own settings" },
}
local new_topics = topics.creation { entry = new_topic, takes_table = true, required = true,
  shape = "table from topic name to partitions or { partitions, replication, config }" }
local topic_list = topics.names { required = true }
local some_topics = topics.names {}

-- -> { { topic, partitions, replication, config = { { name, value }, ... } }, ... }, timeout
function admin.create_topics(given, timeout)
  return schema.argument(new_topics, given, "topics"), common.wait_timeout(timeout)
end

function admin.delete_topics(names, timeout)
  return schema.argument(topic_list, names, "topics"), common.wait_timeout(timeout)
end

function admin.group_offsets(group, names, timeout)
  return common.name(group, "group"), schema.argument(some_topics, names, "topics"),
    common.wait_timeout(timeout)
end

return admin
