-- admin.lua: the options of strand.admin, and what its methods take
--
-- The flat table of 'open': kafka, has_log, has_oauth.

local common = require "strand.options.common"
local properties = require "strand.properties"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, seconds, fields = schema.whole, schema.seconds, schema.fields
local topic, partition = topics.name_kind, common.partition

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

local more_partitions = topics.creation { required = true, entry = fields {
  "partitions", whole { min = 1, max = common.MOST_PARTITIONS, required = true,
    doc = "how many there are to be" } } }

-- -> { { topic, partitions }, ... }, timeout
function admin.create_partitions(given, timeout)
  return schema.argument(more_partitions, given, "topics"), common.wait_timeout(timeout)
end

-- The cluster ---------------------------------------------------------------

local LAST_BROKER = 2 ^ 31 - 1

-- A list of what 'check_item' takes, each once.
local function list(kind)
  kind.check = function(self, given, label)
    local count = schema.check_list(given, label, self.shape)
    if count == 0 then schema.fail(label, self.shape .. " expected, got an empty one") end
    local result, seen = {}, {}
    for i = 1, count do
      local item = self.item.check(self.item, given[i], schema.item(label, i))
      if seen[item] then schema.fail(schema.item(label, i), "it stands there twice") end
      seen[item], result[i] = true, item
    end
    return result
  end
  return kind
end

local broker = { min = 0, max = LAST_BROKER }

admin.describe_fields = fields {
  "topics", topics.names { may_be_empty = true, default_doc = "all", doc = "`{}`: none" },
  "brokers", list { shape = "list of brokers' numbers", item = whole(broker), default_doc = "none",
    doc = "whose settings are wanted" },
  "configs", schema.flag { default = false, doc = "the settings of the topics too" },
}

-- -> { topics, brokers, configs }, timeout
function admin.describe(given, timeout)
  return common.optional(admin.describe_fields, given), common.wait_timeout(timeout)
end

admin.alter_fields = fields {
  "topic", topic { doc = "whose settings change, or" },
  "broker", whole { min = 0, max = LAST_BROKER, doc = "the number of the broker" },
  "set", properties.kind { optional = true, role = "topic", needed = {},
    doc = "name to value" },
  "unset", list { shape = "list of settings", item = schema.text {},
    doc = "settings that get their default again" },
}

local function require_changes(checked)
  local seen = {}
  for _, pair in ipairs(checked.set or {}) do seen[pair[1]] = true end
  for i, name in ipairs(checked.unset or {}) do
    if seen[name] then
      schema.fail(schema.item("option 'unset'", i), ("'%s' is set too"):format(schema.shown(name)))
    end
  end
  if #(checked.set or {}) + #(checked.unset or {}) == 0 then
    schema.fail("option 'set'", "something to 'set' or to 'unset' expected")
  end
end

-- -> { kind = "topic" | "broker", name, set, unset }, timeout
function admin.alter_config(given, timeout)
  local checked = schema.check(admin.alter_fields, given, "")
  if (checked.topic == nil) == (checked.broker == nil) then
    schema.fail("option 'topic'", "either 'topic' or 'broker' expected")
  end
  require_changes(checked)
  checked.kind = checked.topic and "topic" or "broker"
  checked.name = checked.topic or ("%d"):format(checked.broker)
  return checked, common.wait_timeout(timeout)
end

-- Groups and places ---------------------------------------------------------

local group_names = list { shape = "list of groups", item = schema.text {} }

function admin.groups(names, timeout)
  return schema.argument(group_names, names, "groups"), common.wait_timeout(timeout)
end

local function where_fields(offset)
  return fields {
    "topics", topics.names { required = true, doc = "their names" },
    "partition", partition { default_doc = "all", doc = "one of the only topic's" },
    "offset", offset,
    "time", seconds { min = 0, max = common.LATEST,
      doc = "the first record of this time or later; the end if there is none" },
  }
end

local function check_where(where, given)
  local checked = schema.check(where, given, "")
  if checked.partition and #checked.topics > 1 then
    schema.fail("option 'partition'", "with one topic only")
  end
  checked.kind, checked.value = common.start_of(checked)
  return checked
end

admin.list_fields = where_fields(schema.enum { "earliest", "latest",
  doc = "where the log begins, or ends" })
admin.reset_fields = where_fields(common.start { doc = "the next record to read" })

-- -> { topics, partition, kind = "earliest" | "latest" | "time", value }, timeout
function admin.list_offsets(given, timeout)
  return check_where(admin.list_fields, given), common.wait_timeout(timeout)
end

local function ignored()
  return schema.custom { shape = "anything", check = function() return nil end }
end

-- What other methods answer with may be given as it is.
local place = fields {
  "topic", topic { required = true }, "partition", partition { required = true },
  "offset", common.offset { required = true },
  "at_end", ignored(), "before", ignored(), "metadata", ignored(),
}

local PLACES = "list of { topic, partition, offset }"

-- -> a list of these, each partition once
local function check_places(given, label)
  local count = schema.check_list(given, label, PLACES)
  if count == 0 then schema.fail(label, PLACES .. " expected, got an empty one") end
  local result, seen = {}, {}
  for i = 1, count do
    local here = schema.item(label, i)
    local one = schema.check(place, given[i], here)
    local name = ("%s/%d"):format(one.topic, one.partition)
    if seen[name] then schema.fail(here, ("'%s' stands there twice"):format(name)) end
    seen[name], result[i] = true, one
  end
  return result
end

-- -> group, what list_offsets gives (kind may be "offset") or { places }, timeout
function admin.reset_offsets(group, given, timeout)
  group = common.name(group, "group")
  if type(given) == "table" and given[1] ~= nil then
    return group, { places = check_places(given, "argument 'places'") },
      common.wait_timeout(timeout)
  end
  return group, check_where(admin.reset_fields, given), common.wait_timeout(timeout)
end

function admin.delete_records(given, timeout)
  return check_places(given, "argument 'places'"), common.wait_timeout(timeout)
end

function admin.lag(group, names, timeout)
  return common.name(group, "group"), schema.argument(some_topics, names, "topics"),
    common.wait_timeout(timeout)
end

function admin.delete_group_offsets(group, names, timeout)
  return common.name(group, "group"), schema.argument(topic_list, names, "topics"),
    common.wait_timeout(timeout)
end

admin.read_fields = fields {
  "topic", topic { required = true, doc = "the topic" },
  "partition", partition { required = true, doc = "its partition" },
  "offset", common.start { doc = "the first record, or the next that is there" },
  "time", seconds { min = 0, max = common.LATEST, doc = "the first record of this time or later" },
  "records", whole { min = 1, max = 100000, default = 1, doc = "how many, at most" },
  "max_bytes", schema.bytes { min = 1, max = common.TIB, default = 64 * common.MIB,
    doc = "of keys, values and headers: it ends with the record that reaches them" },
}

-- A table, or a record's id. -> { topic, partition, kind, value, records, max_bytes }, timeout
function admin.read(given, timeout)
  if type(given) == "string" then
    local id = common.place_of_id(given)
    if not id then
      schema.fail("argument 'what'", "a table, or the id of a record, expected, got a string that is no id")
    end
    given = id
  end
  local checked = schema.check(admin.read_fields, given, "")
  checked.kind, checked.value = common.start_of(checked)
  return checked, common.wait_timeout(timeout)
end

function admin.group_offsets(group, names, timeout)
  return common.name(group, "group"), schema.argument(some_topics, names, "topics"),
    common.wait_timeout(timeout)
end

return admin
