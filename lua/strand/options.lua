-- options.lua: the one table of options
--
-- What strand.consumer, producer, mock, admin and their methods take: which
-- options exist, what each may be, its default, what it does, and whether
-- configure{} may change it while the consumer runs. It checks, words the
-- errors, suggests the near miss and prints the manual (options.manual).
-- It needs nothing of the C side.
--
-- C receives flat, checked tables. All defaults are filled in, times are
-- seconds, nothing in them belongs to the user.
--
-- consumer:
--   kafka               { { name, value }, ... }   strings, sorted by name
--   topics              { name or ^pattern, ... }
--   members             1 to 64
--   has_oauth, has_log  true: Lua answers token requests, takes the log lines
--   has_events          true: Lua takes the events; else failures are warnings in the log
--   ordering            "key" | "partition" | "unordered"
--   ordering_header     name of the header to order by, or nil
--   null_key            "partition" | "unordered"
--   workers             1 to 256
--   routes              { { topic, module | code, name, retry, retry_code, exhausted,
--                         deadline, batch, rate, max_in_flight }, ... }
--                         topic       exact names first, then ^patterns, the longest
--                                     first: the first that matches is taken;
--                                     nil in the only route: every topic
--                         module      to be required in the worker's state, or
--                         code        bytes of string.dump; after loading, the upvalue
--                                     *named* _ENV (5.2+) is set to the globals
--                         name        for messages: the module, or "file.lua:12"
--                         the others as below; nil: the consumer's
--   handler_args        Lua source "return ..." that rebuilds the value, or nil
--   retry               { attempts, delay, factor, max_delay, jitter }; with retry_code
--                       attempts is 0: the function alone says when it is exhausted
--   retry_code          bytes of string.dump, or nil
--   exhausted           "dead_letter" | "park" | "skip" | "stop"
--   parked_holds        "shard" | "record"
--   deadline, slow_after     seconds; 0: none
--   rate                { records_per_second, burst }; records_per_second 0: none
--   batch               { size, linger, by = "mixed" | "key" | "partition" }, or nil
--   worker_memory       bytes, or nil
--   letters             { topic, partition = "key" | "same", reason = "text" | "class" |
--                       "none", max_reason, allow_value_drop, kafka, partitioner }, or nil:
--                       no dead letters; kafka: all that the producer needs, its own last
--   max_in_flight, max_ready, max_buffered_records, max_buffered_bytes,
--   max_waiting_records, max_waiting_bytes, max_metadata     whole numbers
--   commit_interval, revoke_grace                            seconds
--   start_timeout       seconds, or nil: kept by the Lua side, C need not look
--   unreadable_metadata "replay" | "fail"
--   package_path, package_cpath    for the workers' states
--
-- configure: those of max_in_flight, max_ready, max_buffered_*, max_waiting_*,
--   commit_interval, revoke_grace, deadline, slow_after, rate, workers, exhausted,
--   retry, retry_code that change. A new retry table comes with retry_code = false: no
--   function any more.
--
-- producer:
--   kafka, topics (names, maybe none), partitioner (a name, or "lua": the Lua
--   side picks each partition), has_on_delivery, has_log, has_oauth,
--   max_queued_records, max_queued_bytes
-- mock:   brokers, topics = { { topic, partitions }, ... }, has_log
-- admin:  kafka, has_log, has_oauth

local schema = require "strand.schema"
local properties = require "strand.properties"
local topics = require "strand.topics"
local transfer = require "strand.transfer"

local whole, number, seconds, bytes = schema.whole, schema.number, schema.seconds, schema.bytes
local enum, func, text, data = schema.enum, schema.func, schema.text, schema.data
local flag, fields, group = schema.flag, schema.fields, schema.group

local options = {}

local MIB = 1024 * 1024
local MANY = 1e9          -- of records
local TIB = 1024 ^ 4      -- of bytes
local DAY = 86400
local LAST_PARTITION = 2 ^ 31 - 1
local LAST_OFFSET = 2 ^ 53 -- where doubles are exact; Lua 5.1 has no others

-- Retry ---------------------------------------------------------------------

local MOST_ATTEMPTS = 65535

local policy = fields {
  "attempts", whole { min = 1, max = MOST_ATTEMPTS, default = 10, runtime = true,
    doc = "how often a record is tried before it is `exhausted`" },
  "delay", seconds { min = 0, max = DAY, default = 1, runtime = true,
    doc = "wait before the second attempt" },
  "factor", number { min = 1, max = 1000, default = 2, runtime = true,
    doc = "each further wait is so many times as long" },
  "max_delay", seconds { min = 0, max = DAY, default = 60, runtime = true,
    doc = "no wait is longer; at least `delay`" },
  "jitter", number { min = 0, max = 1, default = 0.5, runtime = true,
    doc = "how much of a wait may be cut by chance: delay x (1 - jitter x random)" },
}

local function check_policy(given, label)
  local result = schema.check(policy, given, label)
  if result.max_delay < result.delay then
    if given.max_delay ~= nil then
      schema.fail(schema.child(label, "max_delay"), ("at least 'delay' (%s) expected, got %s")
        :format(schema.describe(result.delay), schema.describe(result.max_delay)))
    end
    result.max_delay = result.delay
  end
  return result
end

local function retry(kind)
  kind.shape = "table, or function(attempt, reason, record) -> seconds or nil"
  kind.members = policy
  kind.check = function(self, given, label)
    if type(given) == "function" then
      local code, result = transfer.dump(given, label), check_policy({}, label)
      result.attempts = 0
      return { policy = result, code = code }
    elseif type(given) ~= "table" then
      schema.expected(label, self.shape, given)
    end
    return { policy = check_policy(given, label) }
  end
  return kind
end

-- What becomes of a record that is not tried again.
local function exhausted(kind)
  for i, name in ipairs { "dead_letter", "park", "skip", "stop" } do kind[i] = name end
  return enum(kind)
end

-- Limits that configure{} may take away again: false is none.

local function or_false(kind, none)
  local check = kind.check
  kind.shape = kind.shape .. ", or false: none"
  kind.check = function(self, value, label)
    if value == false then return none end
    return check(self, value, label)
  end
  return kind
end

local function time_in_handler(kind)
  kind.min, kind.max = 0.001, DAY
  return or_false(seconds(kind), 0)
end

local MOST_PER_SECOND = 1e9

local function rate(runtime)
  local members = fields {
    "records_per_second", number { min = 0.000001, max = MOST_PER_SECOND, required = true,
      runtime = runtime, doc = "records that start, in the long run" },
    "burst", number { min = 1, max = MOST_PER_SECOND, runtime = runtime,
      default_doc = "`records_per_second`, at least 1",
      doc = "how many may start at once after a pause" },
  }
  local kind = group { members = members, runtime = runtime,
    doc = "how many records start in a second" }
  local check = kind.check
  kind.check = function(self, given, label)
    local result = check(self, given, label)
    result.burst = result.burst or math.max(1, result.records_per_second)
    return result
  end
  return or_false(kind, { records_per_second = 0, burst = 1 })
end

local MOST_IN_BATCH = 10000
local MOST_IN_FLIGHT = 100000

local function batch()
  return group { doc = "several records for each call; needs a `handle_batch`", members = fields {
    "size", whole { min = 1, max = MOST_IN_BATCH, required = true,
      doc = "records of a batch, at most" },
    "linger", seconds { min = 0, max = DAY, default = 0,
      doc = "how old the oldest record gets while its batch is not full" },
    "by", enum { "mixed", "key", "partition", default = "mixed",
      doc = "what is in a batch: at most one record of each key, records of one key, or of one "
        .. "partition" },
  } }
end

local route = fields {
  "handler", topics.handler_kind { required = true,
    doc = "handles the records of this route" },
  "retry", retry { doc = "instead of the consumer's" },
  "exhausted", exhausted { doc = "instead of the consumer's" },
  "deadline", time_in_handler { doc = "instead of the consumer's" },
  "batch", batch(),
  "rate", rate(),
  "max_in_flight", whole { min = 1, max = MOST_IN_FLIGHT,
    doc = "calls of this route's handler at once" },
}

-- Consumer ------------------------------------------------------------------

local function check_header_name(kind, value, label)
  if type(value) ~= "string" then schema.expected(label, kind.shape, value) end
  if value:find("\0", 1, true) then schema.fail(label, "a zero byte inside") end
  return value -- "" is a name too
end

local header = schema.fields {
  "header", schema.custom { required = true, shape = "name of a header",
    check = check_header_name, doc = "the last header of this name is the key; missing: a null key" },
}

local function check_args(_, value, label)
  return { text = transfer.text(value, label) }
end

local dead_letter = fields {
  "topic", topics.name_kind { required = true, doc = "where dead letters go" },
  "partition", enum { "key", "same", default = "key",
    doc = "placed by the record's key, or in the partition of the same number" },
  "reason", enum { "text", "class", "none", default = "text",
    doc = "what the header `strand.reason` tells: all, what kind of failure it was, or nothing" },
  "max_reason", bytes { min = 0, max = 16384, default = 1024, doc = "of that header" },
  "allow_value_drop", flag { default = false,
    doc = "a dead letter that is too large goes without its value; else its record is parked" },
}

local PARTITIONERS = enum { "murmur2_random", "murmur2", "consistent", "consistent_random",
  "fnv1a", "fnv1a_random", "random", default = "murmur2_random",
  doc = "where a key goes; the default is Java's placement" }

local producer_of_consumer = fields {
  "kafka", properties.kind { role = "producer", optional = true, needed = {},
    default_doc = "the consumer's connection",
    doc = "librdkafka's properties, over those of the consumer's connection" },
  "partitioner", PARTITIONERS,
}

-- A function that takes the log's lines; false: they are thrown away.
local function log(doc)
  return schema.custom { shape = "function, or false: none", default_doc = "stderr, warnings up",
    doc = doc,
    check = function(kind, value, label)
      if value == false then return function() end end
      if type(value) ~= "function" then schema.expected(label, kind.shape, value) end
      return value
    end }
end

local function oauth_token(doc)
  return func { doc = "`function() -> token, expires (os.time), principal`: " .. doc }
end

local NO_TOKEN_OF_OURS = { ["sasl.oauthbearer.method"] = "oidc",
  ["enable.sasl.oauthbearer.unsecure.jwt"] = "true" }

-- Nobody would answer librdkafka's request for a token, and it says nothing.
local function require_token(checked)
  if checked.oauth_token then return end
  local wanted = false
  for _, pair in ipairs(checked.kafka) do
    local name, value = pair[1], pair[2]:lower()
    if NO_TOKEN_OF_OURS[name] == value then return end
    if name:find "^sasl%.mechanisms?$" then wanted = value == "oauthbearer" end
  end
  if wanted then
    schema.fail(schema.child("", "oauth_token"), "required with 'sasl.mechanism' OAUTHBEARER")
  end
end

local consumer = fields {
  "kafka", properties.kind { role = "consumer", needed = { "bootstrap.servers", "group.id" },
    doc = "`bootstrap.servers`, `group.id` and whatever else librdkafka knows" },
  "topics", topics.subscription { required = true,
    doc = "what to subscribe to; patterns are POSIX regular expressions that start with `^`; "
      .. "Kafka's internal topics only by name" },
  "members", whole { min = 1, max = 64, default = 1,
    doc = "how many members of the group this consumer is" },
  "oauth_token", oauth_token "called when a token is due",
  "ordering", enum { "key", "partition", "unordered", default = "key",
    doc = "what stays in order: records of one key, of one partition, or nothing" },
  "ordering_key", group { members = header,
    doc = "order by a header in place of the record's key" },
  "null_key", enum { "partition", "unordered", default = "partition",
    doc = "records without a key stay in order within their partition, or not at all" },
  "workers", whole { min = 1, max = 256, default = 16, runtime = true,
    doc = "worker threads, each with a Lua state of its own" },
  "handler", topics.routes { required = true, entry = route,
    doc = "a module, a function without upvalues, or routes `{ [topic or ^pattern] = handler "
      .. "or { handler, retry, exhausted, deadline, batch, rate, max_in_flight } }`" },
  "handler_args", schema.custom { shape = "plain value", check = check_args,
    doc = "copied into each worker: `setup(args)`, `context.args`" },
  "batch", batch(),
  "max_in_flight", whole { min = 1, max = MOST_IN_FLIGHT, default_doc = "`workers`", runtime = true,
    doc = "handlers that run at once" },
  "max_ready", whole { min = 1, max = MANY, default_doc = "64 x `workers`", runtime = true,
    doc = "records handed over to workers and not started" },
  "max_buffered_records", whole { min = 1, max = MANY, default = 100000, runtime = true,
    doc = "records read and not done; a partition over its share is left unread" },
  "max_buffered_bytes", bytes { min = 1, max = TIB, default = 64 * MIB, runtime = true,
    doc = "the same in bytes" },
  "max_waiting_records", whole { min = 1, max = MANY, default = 100000, runtime = true,
    doc = "records waiting for a retry or parked, and those behind them" },
  "max_waiting_bytes", bytes { min = 1, max = TIB, default = 64 * MIB, runtime = true,
    doc = "the same in bytes" },
  "max_metadata", whole { min = 0, max = MIB, default = 4096,
    doc = "characters of a commit's metadata, the brokers' `offset.metadata.max.bytes`" },
  "commit_interval", seconds { min = 0.01, max = DAY, default = 5, runtime = true,
    doc = "time between commits" },
  "revoke_grace", seconds { min = 0, max = DAY, default = 5, runtime = true,
    doc = "how long handlers may go on when their partition is taken away; at most a quarter "
      .. "of `max.poll.interval.ms`" },
  "worker_memory", bytes { min = MIB, max = TIB, default_doc = "no limit",
    doc = "what each worker's Lua state may take; not under LuaJIT" },
  "deadline", time_in_handler { default_doc = "none", runtime = true,
    doc = "how long a handler may take before its attempt has failed" },
  "slow_after", time_in_handler { default = 10, runtime = true,
    doc = "how long a handler takes before that is an event" },
  "rate", rate(true),
  "start_timeout", seconds { min = 0.001, max = DAY,
    doc = "how long `start` waits until the group is joined; without it, it does not wait" },
  "unreadable_metadata", enum { "replay", "fail", default = "replay",
    doc = "a commit's metadata that is broken or foreign: start at the committed offset, or fail" },
  "retry", retry { default_doc = "", runtime = true,
    doc = "when a failed record is tried again; a function without upvalues runs in the worker" },
  "exhausted", exhausted { runtime = true,
    default_doc = '`"dead_letter"` with `dead_letter`, else `"park"`',
    doc = "what becomes of a record that is not tried again" },
  "dead_letter", group { members = dead_letter, doc = "the topic for records that were given up" },
  "producer", group { members = producer_of_consumer, doc = "what sends dead letters" },
  "parked_holds", enum { "shard", "record", default = "shard",
    doc = "what a parked record holds back: those behind it in its order, or nothing" },
  "on_event", func { default_doc = "failures are warnings in the log",
    doc = "`function(event)`: what happens to the consumer" },
  "log", log "`function(level, facility, message)`, level as in syslog: 3 error, 4 warning, 6 info",
}

local function require_key_ordering(given)
  for _, name in ipairs { "ordering_key", "null_key" } do
    if given[name] ~= nil and given.ordering ~= nil and given.ordering ~= "key" then
      schema.fail(schema.child("", name), "only with ordering = 'key'")
    end
  end
end

local function require_letters(exhausted_by, has_letters, label)
  if exhausted_by == "dead_letter" and not has_letters then
    schema.fail(label, "'dead_letter' needs the option 'dead_letter.topic'")
  end
end

local function require_dead_letters(checked)
  local has_letters = checked.dead_letter ~= nil
  require_letters(checked.exhausted, has_letters, "option 'exhausted'")
  for _, entry in ipairs(checked.handler) do
    local label = schema.item("option 'handler'", entry.topic)
    require_letters(entry.exhausted, has_letters, schema.child(label, "exhausted"))
  end
  if checked.producer and not has_letters then
    schema.fail("option 'producer'", "only with the option 'dead_letter'")
  end
end

-- Its virtual machine goes on after an allocation that was refused, as if it
-- had not been: a limit would end the process.
local function refuse_memory_limit(checked)
  if checked.worker_memory and rawget(_G, "jit") then
    schema.fail("option 'worker_memory'", "not under LuaJIT, which does not survive "
      .. "an allocator that refuses")
  end
end

local function letters_of(checked)
  local flat = checked.dead_letter
  if not flat then return nil end
  local own = checked.producer or {}
  flat.kafka = properties.overlay(checked.kafka, own.kafka or {})
  flat.partitioner = own.partitioner or PARTITIONERS.default
  return flat
end

local COPIED = {
  "kafka", "topics", "members", "ordering", "null_key", "workers", "max_buffered_records",
  "max_buffered_bytes", "max_waiting_records", "max_waiting_bytes", "max_metadata",
  "commit_interval", "revoke_grace", "start_timeout", "unreadable_metadata", "batch",
  "deadline", "slow_after", "rate", "worker_memory", "parked_holds",
}

local READY_PER_WORKER = 64

-- Limits that follow the number of workers unless they are given.
local function worker_limits(flat, given, workers)
  flat.max_in_flight = given.max_in_flight or workers
  flat.max_ready = given.max_ready or READY_PER_WORKER * workers
end

local function flatten(checked)
  local flat = {}
  for _, name in ipairs(COPIED) do flat[name] = checked[name] end
  worker_limits(flat, checked, checked.workers)
  local again = checked.retry or { policy = check_policy({}, "option 'retry'") }
  flat.retry, flat.retry_code = again.policy, again.code
  flat.letters = letters_of(checked)
  flat.exhausted = checked.exhausted or (flat.letters and "dead_letter" or "park")
  flat.routes = checked.handler
  flat.ordering_header = checked.ordering_key and checked.ordering_key.header
  flat.handler_args = checked.handler_args and checked.handler_args.text
  flat.has_oauth, flat.has_log = checked.oauth_token ~= nil, checked.log ~= nil
  flat.has_events = checked.on_event ~= nil
  flat.package_path, flat.package_cpath = package.path, package.cpath
  return flat
end

-- -> flat table for C, { on_event, log, oauth_token, start_timeout, limits } for Lua.
-- 'matches(pattern, topic)' is C's regular expressions, or nil.
function options.consumer(given, matches)
  local checked = schema.check(consumer, given, "")
  require_key_ordering(given)
  require_token(checked)
  require_dead_letters(checked)
  refuse_memory_limit(checked)
  topics.require_patterns(checked.topics, checked.handler, matches)
  topics.require_routes(checked.topics, checked.handler, matches)
  local flat = flatten(checked)
  flat.kafka = topics.exclude_internal(checked.topics, checked.kafka, matches)
  return flat, {
    on_event = checked.on_event, log = checked.log, oauth_token = checked.oauth_token,
    start_timeout = checked.start_timeout,
    limits = { max_in_flight = checked.max_in_flight, max_ready = checked.max_ready,
      has_letters = checked.dead_letter ~= nil },
  }
end

-- Producer, admin, mock -----------------------------------------------------

local function partitioner(kind)
  kind.shape = PARTITIONERS.shape .. ", or function(key, partitions, topic) -> number"
  kind.check = function(_, value, label)
    if type(value) == "function" then return value end
    if type(value) ~= "string" then schema.expected(label, kind.shape, value) end
    return PARTITIONERS.check(PARTITIONERS, value, label)
  end
  return kind
end

local producer = fields {
  "kafka", properties.kind { role = "producer", needed = { "bootstrap.servers" },
    doc = "`bootstrap.servers` and whatever else librdkafka knows" },
  "oauth_token", oauth_token "called when a token is due, at first by `strand.producer`",
  "topics", topics.names { may_be_empty = true,
    doc = "topics whose number of partitions is asked for at once" },
  "partition_key", func {
    doc = "`function(event) -> string`: what to hash, when it is not the key; `event` is "
      .. "`send`'s table, which may then hold other fields too" },
  "partitioner", partitioner { default = "murmur2_random",
    doc = "where a key goes; the default is Java's placement" },
  "on_delivery", func {
    doc = "`function(report)` for each record, called from `poll`, `flush`, `send_wait`, `close`. "
      .. "Without it a record that failed is a warning in the log, one a second for those alike, "
      .. "with a count" },
  "on_event", func { doc = "`function(event)`: what happens to the producer" },
  "log", log "`function(level, facility, message)`",
  "max_queued_records", whole { min = 1, max = 10000000, default = 100000,
    doc = "records not yet acknowledged; above it `send` returns `QUEUE_FULL`" },
  "max_queued_bytes", bytes { min = 1024, max = 2 ^ 41 - 1024, default = 64 * MIB,
    doc = "the same in bytes, counted in KiB" },
}

-- -> flat table for C, { partition_key, partitioner, on_delivery, on_event, log } for Lua
function options.producer(given)
  local checked = schema.check(producer, given, "")
  require_token(checked)
  local own = type(checked.partitioner) == "function"
  return {
    kafka = checked.kafka, topics = checked.topics or {},
    partitioner = own and "lua" or checked.partitioner,
    has_on_delivery = checked.on_delivery ~= nil, has_log = checked.log ~= nil,
    has_oauth = checked.oauth_token ~= nil,
    max_queued_records = checked.max_queued_records,
    max_queued_bytes = checked.max_queued_bytes,
  }, {
    partition_key = checked.partition_key, partitioner = own and checked.partitioner or nil,
    on_delivery = checked.on_delivery, on_event = checked.on_event, log = checked.log,
    oauth_token = checked.oauth_token,
  }
end

local admin = fields {
  "kafka", properties.kind { role = "admin", needed = { "bootstrap.servers" },
    doc = "`bootstrap.servers` and whatever else librdkafka knows" },
  "oauth_token", oauth_token "called by a method when a token is due",
  "log", log "`function(level, facility, message)`, called by the methods",
}

-- -> flat table for C, { oauth_token, log } for Lua
function options.admin(given)
  local checked = schema.check(admin, given, "")
  require_token(checked)
  return {
    kafka = checked.kafka,
    has_oauth = checked.oauth_token ~= nil, has_log = checked.log ~= nil,
  }, { oauth_token = checked.oauth_token, log = checked.log }
end

local MOST_PARTITIONS = 10000

local mock_topic = fields {
  "partitions", whole { min = 1, max = MOST_PARTITIONS, required = true, doc = "" },
}

local mock = fields {
  "brokers", whole { min = 1, max = 16, default = 3, doc = "brokers of the cluster" },
  "topics", topics.creation { entry = mock_topic, doc = "topics that exist from the start" },
  "log", log "`function(level, facility, message)`, called by `strand.mock` and the methods",
}

-- -> flat table for C, { log } for Lua

function options.mock(given)
  local checked = schema.check(mock, given == nil and {} or given, "")
  return {
    brokers = checked.brokers, topics = checked.topics or {}, has_log = checked.log ~= nil,
  }, { log = checked.log }
end

-- Methods -------------------------------------------------------------------

local check = {}
options.check = check

local function timeout(default)
  return seconds { min = 0, max = DAY, default = default, doc = "how long to wait at most" }
end

local function table_or_nothing(given)
  if given == nil then return {} end
  return given
end

local topic = topics.name_kind

local function partition(kind)
  kind.min, kind.max = 0, LAST_PARTITION
  return whole(kind)
end

local close = fields {
  "mode", enum { "finish", "drain", "now", default = "finish",
    doc = "finish what is in flight, everything that was read, or nothing" },
  "timeout", seconds { min = 0, max = DAY, default = 30,
    doc = "what takes longer goes on in the background" },
}

function check.close(given)
  return schema.check(close, table_or_nothing(given), "")
end

local close_group = schema.group { members = close, runtime = nil,
  doc = "what the first signal does" }

local run = fields {
  "every", seconds { min = 0.001, max = DAY, default = 1, doc = "time between two calls of `tick`" },
  "tick", func { doc = "`function(consumer)`: called from the loop" },
  "close", close_group,
}

function check.run(given)
  local checked = schema.check(run, table_or_nothing(given), "")
  checked.close = checked.close or check.close(nil)
  return checked
end

local DEFAULT_TIMEOUT = 30
local commit_timeout = timeout(DEFAULT_TIMEOUT)

function check.commit(given)
  return schema.argument(commit_timeout, given, "timeout")
end

-- nil: until there is something to do.
local step_timeout = timeout(nil)

function check.step(given)
  return schema.argument(step_timeout, given, "timeout")
end

local pause = fields {
  "topic", topic { doc = "the topic" },
  "partition", partition { doc = "one of its partitions; without it, all" },
}

-- -> topic, partition; both nil: everything
function check.pause(given)
  local checked = schema.check(pause, table_or_nothing(given), "")
  if checked.partition and not checked.topic then
    schema.fail("option 'topic'", "required, name of a topic expected")
  end
  return checked.topic, checked.partition
end
check.resume = check.pause

local function check_offset(kind, value, label)
  if value == "earliest" or value == "latest" then return value end
  if type(value) ~= "number" then schema.expected(label, kind.shape, value) end
  return kind.number.check(kind.number, value, label)
end

local seek = fields {
  "topic", topic { required = true, doc = "the topic" },
  "partition", partition { required = true, doc = "its partition" },
  "offset", schema.custom { shape = "offset, 'earliest' or 'latest'", check = check_offset,
    number = whole { min = 0, max = LAST_OFFSET }, doc = "the next record to handle" },
  "time", seconds { min = 0, max = 1e12, doc = "the first record of this time or later" },
  "timeout", timeout(DEFAULT_TIMEOUT),
}

-- -> { topic, partition, timeout, kind = "offset" | "time" | "earliest" | "latest", value }
function check.seek(given)
  local checked = schema.check(seek, given, "")
  if (checked.offset == nil) == (checked.time == nil) then
    schema.fail("option 'offset'", "either 'offset' or 'time' expected")
  end
  if checked.time then
    checked.kind, checked.value = "time", checked.time
  elseif type(checked.offset) == "string" then
    checked.kind = checked.offset
  else
    checked.kind, checked.value = "offset", checked.offset
  end
  return checked
end

local blockers = whole { min = 1, max = 100000, default = 100 }

function check.blockers(given)
  return schema.argument(blockers, given, "n")
end

local record_place = fields {
  "topic", topic { required = true },
  "partition", partition { required = true },
  "offset", whole { min = 0, max = LAST_OFFSET, required = true },
}

local resolution = enum { "retry", "discard", "dead_letter", required = true }
local RECORD = "a record, { topic, partition, offset } or its id"

-- A record, or anything else with these fields, or "topic/partition/offset".
local function place_of(record)
  if type(record) == "string" then
    local name, index, offset = record:match "^([^/]+)/(%d+)/(%d+)$"
    if not name then
      schema.fail("argument 'record'", RECORD .. " expected, got a string that is no id")
    end
    record = { topic = name, partition = tonumber(index), offset = tonumber(offset) }
  elseif type(record) ~= "table" then
    schema.expected("argument 'record'", RECORD, record)
  end
  return schema.check(record_place, schema.known(record_place, record), "argument 'record'")
end

-- -> { topic, partition, offset, what, timeout }
function check.resolve(record, what, given_timeout)
  local place = place_of(record)
  place.what = schema.argument(resolution, what, "what")
  place.timeout = schema.argument(commit_timeout, given_timeout, "timeout")
  return place
end

-- Limits that only follow 'workers' must go on following it.
local function follow_workers(flat, workers, limits)
  flat.max_in_flight = flat.max_in_flight or (not limits.max_in_flight and workers) or nil
  flat.max_ready = flat.max_ready
    or (not limits.max_ready and READY_PER_WORKER * workers) or nil
end

-- Before their values are looked at: those may be right or wrong, it is all one.
local function refuse_fixed(given)
  local fixed, others
  for _, name in ipairs(consumer.names) do
    if consumer.kinds[name].runtime then
      others = others and others .. ", " .. name or name
    elseif given[name] ~= nil then
      fixed = fixed or name
    end
  end
  if fixed then
    schema.fail(schema.child("", fixed),
      "cannot be changed while the consumer runs; what can be: " .. others)
  end
end

-- -> flat table for C with what changes, and the new limits. 'limits' are
-- those that options.consumer gave.
function check.configure(given, limits)
  if type(given) == "table" then refuse_fixed(given) end
  local flat = schema.check_given(consumer, given, "")
  limits = {
    max_in_flight = flat.max_in_flight or limits.max_in_flight,
    max_ready = flat.max_ready or limits.max_ready,
    has_letters = limits.has_letters,
  }
  require_letters(flat.exhausted, limits.has_letters, "option 'exhausted'")
  if flat.workers then follow_workers(flat, flat.workers, limits) end
  if flat.retry then flat.retry, flat.retry_code = flat.retry.policy, flat.retry.code or false end
  return flat, limits
end

-- Records to send -----------------------------------------------------------

local function check_header(out, name, value, label)
  if type(name) ~= "string" then -- "" is a name too
    schema.expected(label, "name of a header", name)
  elseif name:find("\0", 1, true) then -- librdkafka's consumers would see it cut
    schema.fail(label, "a zero byte inside the name")
  elseif value ~= nil and type(value) ~= "string" then
    schema.expected(label, "string", value)
  end
  out[#out + 1] = name
  out[#out + 1] = value or false
end

local function header_pairs(out, given, label)
  local count = schema.list_length(given)
  if not count then
    schema.fail(label, "a list of { name, value } without holes, or a table from name to value "
      .. "expected, got a mixed one")
  end
  for i = 1, count do
    local pair, place = given[i], schema.item(label, i)
    if type(pair) ~= "table" then schema.expected(place, "{ name, value }", pair) end
    if pair[3] ~= nil then schema.fail(place, "{ name, value } expected, got more") end
    check_header(out, pair[1], pair[2], place)
  end
  return out
end

local function header_map(out, given, label)
  local names = {}
  for name in pairs(given) do
    if type(name) ~= "string" then schema.expected(label, "names of headers", name) end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    check_header(out, name, given[name], schema.item(label, name))
  end
  return out
end

-- -> { name, value or false, name, value or false, ... }
local function check_headers(kind, given, label)
  if type(given) ~= "table" then schema.expected(label, kind.shape, given) end
  if given[1] ~= nil then return header_pairs({}, given, label) end
  return header_map({}, given, label)
end

local sent = {
  "topic", topic { required = true, doc = "where it goes" },
  "key", data { doc = "absent: nil" },
  "value", data { doc = "absent: nil" },
  "headers", schema.custom { shape = "table from name to value, or list of { name, value }",
    check = check_headers, doc = "a list keeps its order" },
  "timestamp", seconds { min = 0.001, max = 1e12, default_doc = "now",
    doc = "time of the record; librdkafka cannot send 0, which is its word for now" },
  "partition", partition { doc = "without asking a partitioner" },
  "partition_key", data { doc = "what to hash, when it is not the key" },
}
local record = fields(sent)

sent[#sent + 1] = "timeout"
sent[#sent + 1] = timeout(DEFAULT_TIMEOUT)
local awaited_record = fields(sent)

-- With a partition_key function ('open') other fields are its own business:
-- producer:send { order_id = 7, ... }.
local function check_record(kind, given, open)
  return schema.check(kind, open and schema.known(kind, given) or given, "")
end

function check.send(given, open)
  return check_record(record, given, open)
end

function check.send_wait(given, open)
  return check_record(awaited_record, given, open)
end

local close_producer = fields {
  "timeout", seconds { min = 0, max = DAY, default = DEFAULT_TIMEOUT,
    doc = "what is not acknowledged by then is given up and reported" },
}

function check.close_producer(given)
  return schema.check(close_producer, table_or_nothing(given), "")
end

check.flush = check.commit
check.poll = check.step

-- The test kit --------------------------------------------------------------

local test_record = fields {
  "topic", topic { default = "topic", doc = "of its id too" },
  "partition", partition { default = 0, doc = "its number" },
  "offset", whole { min = 0, max = LAST_OFFSET, default = 0, doc = "its place" },
  "key", data { doc = "absent: nil" },
  "value", data { doc = "absent: nil" },
  "headers", schema.custom { shape = "table from name to value, or list of { name, value }",
    check = check_headers, doc = "a list keeps its order" },
  "timestamp", seconds { min = 0, max = 1e12, doc = "absent: nil" },
  "timestamp_type", enum { "create", "append", default_doc = '`"create"`',
    doc = "of a record with a timestamp" },
  "attempt", whole { min = 1, max = 65535, default = 1, doc = "1: the first" },
  "leader_epoch", whole { min = 0, max = 2147483647, doc = "absent: nil" },
}

-- -> flat table for C
function check.test_record(given)
  local flat = schema.check(test_record, table_or_nothing(given), "")
  if flat.timestamp then
    flat.timestamp_ms = math.floor(flat.timestamp * 1000 + 0.5)
    flat.timestamp_type = flat.timestamp_type == "append" and 2 or 1
  else
    flat.timestamp_type = nil
  end
  return flat
end

local test_context = fields {
  "args", schema.custom { shape = "anything", check = function(_, value) return value end,
    doc = "what `handler_args` would be" },
  "worker", whole { min = 1, max = 1000000, default = 1, doc = "its thread's number" },
  "remaining", seconds { min = 0, max = DAY, default_doc = "no deadline",
    doc = "what `context:remaining()` says" },
}

function check.test_context(given)
  return schema.check(test_context, table_or_nothing(given), "")
end

-- Admin and mock ------------------------------------------------------------

local new_topic = fields {
  "partitions", whole { min = 1, max = MOST_PARTITIONS, required = true, doc = "partitions" },
  "replication", whole { min = 1, max = 32767, default_doc = "the brokers'", doc = "replicas" },
  "config", properties.kind { optional = true, role = "topic", needed = {},
    doc = "the topic's own settings" },
}
local new_topics = topics.creation { entry = new_topic, takes_table = true, required = true,
  shape = "table from topic name to partitions or { partitions, replication, config }" }
local topic_list = topics.names { required = true }
local some_topics = topics.names {}
local name_kind = text { required = true }

-- -> { { topic, partitions, replication, config = { { name, value }, ... } }, ... }
function check.create_topics(given)
  return schema.argument(new_topics, given, "topics")
end

function check.topic_list(given)
  return schema.argument(topic_list, given, "topics")
end

function check.some_topics(given)
  return schema.argument(some_topics, given, "topics")
end

-- A name that is no topic: a group, a request, an error code.
function check.name(given, name)
  return schema.argument(name_kind, given, name)
end

local topic_argument = topic { required = true }

function check.topic(given)
  return schema.argument(topic_argument, given, "topic")
end

function check.whole(given, name, min, max, default)
  local kind = whole { min = min, max = max, default = default, required = default == nil }
  return schema.argument(kind, given, name)
end

local delay = seconds { min = 0, max = DAY, required = true }

function check.seconds(given, name)
  return schema.argument(delay, given, name)
end

-- The manual ----------------------------------------------------------------

local MANUAL = {
  { "strand.consumer", consumer, true },
  { "strand.producer", producer },
  { "strand.admin", admin },
  { "strand.mock", mock },
  { "consumer:run", run },
  { "consumer:close", close },
  { "consumer:seek", seek },
  { "producer:send, producer:send_wait", awaited_record },
}

-- The tables of docs/options.md, Markdown.
function options.manual()
  local parts = {}
  for _, part in ipairs(MANUAL) do
    parts[#parts + 1] = ("## %s\n\n%s\n"):format(part[1], schema.manual(part[2], part[3]))
  end
  return table.concat(parts, "\n")
end

return options
