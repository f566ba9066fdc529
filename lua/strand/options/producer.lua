-- producer.lua: the options of strand.producer, and what its methods take
--
-- The flat table of 'open': kafka, topics (names, maybe none), partitioner (a
-- name, or "lua": the Lua side picks each partition), has_on_delivery,
-- has_log, has_oauth, max_queued_records, max_queued_bytes, transactional_id,
-- transaction_timeout.

local common = require "strand.options.common"
local properties = require "strand.properties"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, seconds, bytes = schema.whole, schema.seconds, schema.bytes
local func, fields = schema.func, schema.fields

local producer = {}

-- Opening -------------------------------------------------------------------

local function partitioner(kind)
  kind.shape = common.partitioner.shape .. ", or function(key, partitions, topic) -> number"
  kind.check = function(_, value, label)
    if type(value) == "function" then return value end
    if type(value) ~= "string" then schema.expected(label, kind.shape, value) end
    return common.partitioner.check(common.partitioner, value, label)
  end
  return kind
end

producer.fields = fields {
  "kafka", properties.kind { role = "producer", needed = { "bootstrap.servers" },
    doc = "`bootstrap.servers` and whatever else librdkafka knows" },
  "oauth_token", common.oauth_token "called when a token is due, at first by `strand.producer`",
  "topics", topics.names { may_be_empty = true,
    doc = "topics whose number of partitions is asked for at once" },
  "partition_key", func {
    doc = "`function(event) -> string`: what to hash, when it is not the key; `event` is "
      .. "`send`'s table, which may then hold other fields too" },
  "partitioner", partitioner { default = common.partitioner.default, doc = common.partitioner.doc },
  "on_delivery", func {
    doc = "`function(report)` for each record, called from `poll`, `flush`, `send_wait`, `close`. "
      .. "Without it a record that failed is a warning in the log, one a second for those alike, "
      .. "with a count" },
  "on_event", func { doc = "`function(event)`: what happens to the producer" },
  "log", common.log "`function(level, facility, message)`",
  "max_queued_records", whole { min = 1, max = 10000000, default = 100000, runtime = true,
    doc = "records not yet acknowledged, and reports not yet given; above it `send` returns `QUEUE_FULL`" },
  "max_queued_bytes", bytes { min = 1024, max = 2 ^ 41 - 1024, default = 64 * common.MIB, runtime = true,
    doc = "the same in bytes of keys and values" },
  "transactional_id", schema.text {
    doc = "records are sent in transactions; stable, and of one process at a time" },
  "transaction_timeout", seconds { min = 1, max = common.DAY, default_doc = "60 s",
    doc = "the brokers abort a transaction that is open for longer; with `transactional_id`. "
      .. "Not above their `transaction.max.timeout.ms` (15 minutes)" },
}

local TRANSACTION_TIMEOUT = 60

local function transaction_timeout(checked)
  if checked.transactional_id then return checked.transaction_timeout or TRANSACTION_TIMEOUT end
  if checked.transaction_timeout then
    schema.fail(schema.child("", "transaction_timeout"), "only with 'transactional_id'")
  end
end

-- -> flat table for C, { partition_key, partitioner, on_delivery, on_event, log } for Lua
function producer.open(given)
  local checked = schema.check(producer.fields, given, "")
  common.require_token(checked)
  local own = type(checked.partitioner) == "function"
  return {
    kafka = checked.kafka, topics = checked.topics or {},
    partitioner = own and "lua" or checked.partitioner,
    has_on_delivery = checked.on_delivery ~= nil, has_log = checked.log ~= nil,
    has_oauth = checked.oauth_token ~= nil,
    max_queued_records = checked.max_queued_records,
    max_queued_bytes = checked.max_queued_bytes,
    transactional_id = checked.transactional_id, transaction_timeout = transaction_timeout(checked),
  }, {
    partition_key = checked.partition_key, partitioner = own and checked.partitioner or nil,
    on_delivery = checked.on_delivery, on_event = checked.on_event, log = checked.log,
    oauth_token = checked.oauth_token,
  }
end

-- -> what changes, for C
function producer.configure(given)
  schema.refuse_fixed(producer.fields, given, "producer")
  return schema.check_given(producer.fields, given, "")
end

-- Records to send -----------------------------------------------------------

local function check_data(_, value, label)
  if type(value) ~= "string" then schema.expected_string(label, value) end
  return value
end

local function data(kind)
  kind.shape, kind.check = "string", check_data
  return kind
end

local sent = {
  "topic", topics.name_kind { required = true, doc = "where it goes" },
  "key", data { doc = "absent: nil" },
  "value", data { doc = "absent: nil" },
  "headers", common.headers,
  "timestamp", seconds { min = 0.001, max = common.LATEST, default_doc = "now",
    doc = "time of the record; librdkafka cannot send 0, which is its word for now" },
  "partition", common.partition { doc = "without asking a partitioner" },
  "partition_key", data { doc = "what to hash, when it is not the key" },
}
local output = fields(sent) -- of a handler: its record waits for it without a limit

local TIMEOUT_DOC = "when it has failed, if it is not acknowledged by then"

sent[#sent + 1] = "timeout"
sent[#sent + 1] = seconds { min = 0, max = common.DAY, doc = TIMEOUT_DOC }
local record = fields(sent)

sent[#sent] = common.timeout { doc = TIMEOUT_DOC, default_doc = "30 s of `send_wait`" }
producer.awaited_record = fields(sent)

-- With a partition_key function ('open') other fields are its own business:
-- producer:send { order_id = 7, ... }.
local function check_record(kind, given, open, label)
  if type(given) ~= "table" then
    schema.expected(label == "" and "argument 'record'" or label, "table", given)
  end
  return schema.check(kind, open and schema.known(kind, given) or given, label)
end

function producer.send(given, open)
  return check_record(record, given, open, "")
end
producer.send_async = producer.send

function producer.produce(given)
  return check_record(output, given, false, "")
end

function producer.send_wait(given, open)
  return check_record(producer.awaited_record, given, open, "")
end

-- -> list of checked records
function producer.send_batch(given, open)
  local count = schema.check_list(given, "argument 'records'", "list of records")
  local list = {}
  for i = 1, count do
    list[i] = check_record(record, given[i], open, schema.item("argument 'records'", i))
  end
  return list
end

local close = fields {
  "timeout", common.timeout {
    doc = "what is not acknowledged by then is given up and reported" },
}

function producer.close(given)
  return common.optional(close, given)
end

producer.flush = common.wait_timeout
producer.wait = common.wait_timeout -- of a delivery
producer.transaction_timeout = common.wait_timeout
producer.poll = common.serve_timeout

return producer
