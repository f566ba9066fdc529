-- consumer.lua: the options of strand.consumer, and those that configure{} takes
--
-- The flat table of 'open':
--   kafka               { { name, value }, ... }   strings, sorted by name
--   topics              { name or ^pattern, ... }
--   members             1 to 64
--   has_oauth, has_log  true: Lua answers token requests, takes the log lines
--   has_events          true: Lua takes the events; else failures are warnings in the log
--   ordering            "key" | "partition" | "unordered"
--   ordering_header     name of the header to order by, or nil
--   null_key            "partition" | "unordered"
--   workers             1 to 256; 0: local mode
--   loop                "cqueues" | "luv": each worker has one; or nil
--   max_slice           seconds, with a loop
--   routes              { { topic, module | code, name, retry, retry_code, exhausted,
--                         deadline, batch, rate, max_in_flight }, ... }
--                         topic       exact names first, then ^patterns, the longest
--                                     first: the first that matches is taken;
--                                     nil in the only route: every topic
--                         module      to be required in the worker's state, or
--                         func        the function; in local mode it is called, else
--                         code        bytes of string.dump; after loading, the upvalue
--                                     *named* _ENV (5.2+) is set to the globals
--                         name        for messages: the module, or "file.lua:12"
--                         the others as below; nil: the consumer's
--   handler_args        Lua source "return ..." that rebuilds the value, or nil
--   retry               { attempts, delay, factor, max_delay, jitter }; with retry_code
--                       attempts is 0: the function alone says when it is exhausted
--   retry_code          bytes of string.dump, or nil; in local mode false, and retry_func
--                       the function
--   exhausted           "dead_letter" | "park" | "skip" | "stop"
--   parked_holds        "shard" | "record"
--   delivery            "at_least_once" | "at_most_once" | "exactly_once"
--   transactional_id, transaction_interval, transaction_records, transaction_timeout
--                       with exactly_once, all of them
--   deadline, slow_after     seconds; 0: none
--   rate                { records_per_second, burst }; records_per_second 0: none
--   batch               { size, linger, by = "mixed" | "key" | "partition" }, or nil
--   worker_memory       bytes, or nil
--   letters             { topic, partition = "key" | "same", reason = "text" | "class" |
--                       "none", max_reason, allow_value_drop, kafka, partitioner, produces },
--                       or nil: nothing is sent; without topic: no dead letters; produces:
--                       handlers may; kafka: all that the producer needs, its own last
--   max_staged_bytes    whole number
--   max_in_flight, max_ready, max_buffered_records, max_buffered_bytes,
--   max_waiting_records, max_waiting_bytes, max_metadata     whole numbers
--   commit_interval, revoke_grace                            seconds
--   start_timeout       seconds, or nil: kept by the Lua side, C need not look
--   unreadable_metadata "replay" | "fail"
--   package_path, package_cpath    for the workers' states
--
-- That of 'configure': those of max_in_flight, max_ready, max_buffered_*, max_waiting_*,
--   commit_interval, revoke_grace, deadline, slow_after, rate, workers, exhausted,
--   retry, retry_code that change. A new retry table comes with retry_code = false: no
--   function any more.

local common = require "strand.options.common"
local handling = require "strand.options.handling"
local nginx = require "strand.nginx"
local properties = require "strand.properties"
local schema = require "strand.schema"
local topics = require "strand.topics"
local transfer = require "strand.transfer"

local whole, seconds, bytes = schema.whole, schema.seconds, schema.bytes
local enum, func, flag = schema.enum, schema.func, schema.flag
local fields, group = schema.fields, schema.group
local MIB, TIB, DAY = common.MIB, common.TIB, common.DAY

local consumer = {}

local MANY = 1e9 -- of records

-- The options ---------------------------------------------------------------

local function check_header_name(kind, value, label)
  if type(value) ~= "string" then schema.expected(label, kind.shape, value) end
  if value:find("\0", 1, true) then schema.fail(label, "a zero byte inside") end
  return value -- "" is a name too
end

local header = fields {
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

local producer_of_consumer = fields {
  "kafka", properties.kind { role = "producer", optional = true, needed = {},
    default_doc = "the consumer's connection",
    doc = "librdkafka's properties, over those of the consumer's connection" },
  "partitioner", common.partitioner,
}

consumer.fields = fields {
  "kafka", properties.kind { role = "consumer", needed = { "bootstrap.servers", "group.id" },
    doc = "`bootstrap.servers`, `group.id` and whatever else librdkafka knows" },
  "topics", topics.subscription { required = true,
    doc = "what to subscribe to; patterns are POSIX regular expressions that start with `^`; "
      .. "Kafka's internal topics only by name" },
  "members", whole { min = 1, max = 64, default = 1,
    doc = "how many members of the group this consumer is" },
  "oauth_token", common.oauth_token "called when a token is due",
  "ordering", enum { "key", "partition", "unordered", default = "key",
    doc = "what stays in order: records of one key, of one partition, or nothing" },
  "delivery", handling.delivery { default = "at_least_once",
    doc = "what a crash does: repeats what was not committed, or (`at_most_once`) loses what was "
      .. "committed before it started, or (`exactly_once`) neither: what handlers produce is in one "
      .. "transaction with the offsets" },
  "transactional_id", schema.text {
    doc = "with `exactly_once`: of one process at a time, and the same when it starts again; members "
      .. "add `-<index>`" },
  "transaction_interval", seconds { min = 0.01, max = DAY, default_doc = "0.5 s",
    doc = "with `exactly_once`: time between transactions" },
  "transaction_records", whole { min = 1, max = 1000000, default_doc = "10000",
    doc = "with `exactly_once`: what one transaction holds at most" },
  "transaction_timeout", seconds { min = 1, max = DAY, default_doc = "10 s",
    doc = "with `exactly_once`: the brokers abort one that takes longer" },
  "ordering_key", group { members = header,
    doc = "order by a header in place of the record's key" },
  "null_key", enum { "partition", "unordered", default = "partition",
    doc = "records without a key stay in order within their partition, or not at all" },
  "workers", whole { min = 0, max = 256, default = 16, runtime = true,
    doc = "worker threads, each with a Lua state of its own; 0: handlers run in the caller's state" },
  "loop", enum { "cqueues", "luv", default_doc = "none",
    doc = "an event loop in each worker: there handlers are coroutines, which may wait in it" },
  "handler", topics.routes { required = true, entry = handling.route,
    doc = "a module, a function (with worker threads without upvalues), or routes "
      .. "`{ [topic or ^pattern] = handler "
      .. "or { handler, retry, exhausted, deadline, batch, rate, max_in_flight } }`" },
  "handler_args", schema.custom { shape = "plain value", check = check_args,
    doc = "copied into each worker: `setup(args)`, `context.args`" },
  "batch", handling.batch(),
  "max_in_flight", handling.max_in_flight {
    default_doc = "`workers`; 256 with `workers = 0`; 256 x `workers` with `loop`",
    runtime = true, doc = "handlers that run at once; with `loop` each worker has an equal share" },
  "max_ready", whole { min = 1, max = MANY, runtime = true,
    default_doc = "64 x `workers`; with `workers = 0` or `loop` a quarter of `max_in_flight`, at least 64",
    doc = "records handed over to workers and not started" },
  "max_slice", seconds { min = 0.0001, max = 1, default_doc = "0.002 s; 0.001 s in nginx",
    doc = "with `workers = 0` or `loop`: how long handlers that do not wait go on before it is "
      .. "others' turn" },
  "max_buffered_records", whole { min = 1, max = MANY, default = 100000, runtime = true,
    doc = "records read and not done; a partition over its share is left unread" },
  "max_buffered_bytes", bytes { min = 1, max = TIB, default = 64 * MIB, runtime = true,
    doc = "the same in bytes" },
  "max_waiting_records", whole { min = 1, max = MANY, default = 100000, runtime = true,
    doc = "records waiting for a retry or parked, and those behind them" },
  "max_waiting_bytes", bytes { min = 1, max = TIB, default = 64 * MIB, runtime = true,
    doc = "the same in bytes" },
  "max_metadata", whole { min = 0, max = 32767, default = 4096,
    doc = "characters of a commit's metadata, the brokers' `offset.metadata.max.bytes`" },
  "commit_interval", seconds { min = 0.01, max = DAY, default = 5, runtime = true,
    doc = "time between commits" },
  "revoke_grace", seconds { min = 0, max = DAY, default = 5, runtime = true,
    doc = "how long handlers may go on when their partition is taken away; at most a quarter "
      .. "of `max.poll.interval.ms`" },
  "max_staged_bytes", bytes { min = 1, max = TIB, default = 64 * MIB,
    doc = "what handlers have produced and no broker has acknowledged; above it no handler starts" },
  "worker_memory", bytes { min = MIB, max = TIB, default_doc = "no limit",
    doc = "what each worker's Lua state may take; not under LuaJIT" },
  "deadline", handling.time_in_handler { default_doc = "none", runtime = true,
    doc = "how long a handler may take before its attempt has failed" },
  "slow_after", handling.time_in_handler { default = 10, runtime = true,
    doc = "how long a handler takes before that is an event" },
  "rate", handling.rate(true),
  "start_timeout", seconds { min = 0.001, max = DAY,
    doc = "how long `start` waits until the group is joined; without it, it does not wait" },
  "unreadable_metadata", enum { "replay", "fail",
    default_doc = '`"replay"`; `"fail"` under `at_most_once`',
    doc = "a commit's metadata that is broken or foreign: start at the committed offset, or fail" },
  "retry", handling.retry { runtime = true,
    doc = "when a failed record is tried again; a function without upvalues runs in the worker" },
  "exhausted", handling.exhausted { runtime = true,
    default_doc = '`"dead_letter"` with `dead_letter`, else `"park"`',
    doc = "what becomes of a record that is not tried again" },
  "dead_letter", group { members = dead_letter, doc = "the topic for records that were given up" },
  "producer", group { members = producer_of_consumer,
    doc = "what sends dead letters and what handlers produce; with it `context:produce` works, "
      .. "also with `producer = {}`" },
  "parked_holds", enum { "shard", "record", default_doc = '`"shard"`',
    doc = "what a parked record holds back: those behind it in its order, or nothing" },
  "on_event", func { default_doc = "failures are warnings in the log",
    doc = "`function(event)`: what happens to the consumer" },
  "log", common.log "`function(level, facility, message)`, level as in syslog: 3 error, 4 warning, 6 info",
}

-- Opening -------------------------------------------------------------------

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
end

local function refuse_second_attempts(checked)
  if checked.delivery ~= "at_most_once" then return end
  handling.refuse_second_attempts(checked, "")
  for _, entry in ipairs(checked.handler) do
    handling.refuse_second_attempts(entry, schema.item("option 'handler'", entry.topic))
  end
end

-- Exactly once what an aborted transaction has written must not be read.
local function refuse_uncommitted(checked)
  if checked.delivery ~= "exactly_once" then return end
  for _, property in ipairs(checked.kafka) do
    if property[1] == "isolation.level" and property[2] == "read_uncommitted" then
      schema.fail("option 'kafka'", "property 'isolation.level': 'read_uncommitted' would read what "
        .. "was aborted, with delivery = 'exactly_once'")
    end
  end
end

-- Its virtual machine goes on after an allocation that was refused, as if it
-- had not been: a limit would end the process.
local function refuse_memory_limit(checked)
  if checked.worker_memory and checked.workers ~= 0 and rawget(_G, "jit") then
    schema.fail("option 'worker_memory'", "not under LuaJIT, which does not survive "
      .. "an allocator that refuses")
  end
end

local function letters_of(checked)
  local own = checked.producer or {}
  if not (checked.dead_letter or checked.producer or checked.delivery == "exactly_once") then
    return nil
  end
  local flat = checked.dead_letter or {}
  if checked.producer then flat.produces = true end
  flat.kafka = properties.overlay(checked.kafka, own.kafka or {})
  flat.partitioner = own.partitioner or common.partitioner.default
  return flat
end

local COPIED = {
  "kafka", "topics", "members", "ordering", "null_key", "workers", "loop", "max_in_flight",
  "max_ready",
  "max_buffered_records", "max_buffered_bytes", "max_waiting_records", "max_waiting_bytes",
  "max_metadata", "commit_interval", "revoke_grace", "start_timeout",
  "batch", "deadline", "slow_after", "rate", "worker_memory", "delivery", "max_staged_bytes",
  "transactional_id", "transaction_interval", "transaction_records", "transaction_timeout",
}

local READY_PER_WORKER = 64
local COROUTINES = 256 -- handlers of one Lua state

-- Limits follow the number of workers unless they were given, now or before.
local function follow_workers(flat, limits)
  if not limits.max_in_flight then flat.max_in_flight = flat.workers end
  if not limits.max_ready then flat.max_ready = READY_PER_WORKER * flat.workers end
end

-- And the number of handlers, where they are coroutines of 'states' Lua states.
local function follow_handlers(flat, limits, states)
  if not limits.max_in_flight then flat.max_in_flight = COROUTINES * states end
  if not limits.max_ready then
    flat.max_ready = math.max(READY_PER_WORKER, math.floor(flat.max_in_flight / 4))
  end
end

-- Each worker's share of them is one at least.
local function require_share(workers, max_in_flight)
  if workers <= max_in_flight then return end
  schema.fail("option 'workers'", ("at most 'max_in_flight' (%d) expected with 'loop', got %d")
    :format(max_in_flight, workers))
end

local function follow(flat, checked)
  if flat.workers == 0 then return follow_handlers(flat, checked, 1) end
  if not flat.loop then return follow_workers(flat, checked) end
  follow_handlers(flat, checked, flat.workers)
  require_share(flat.workers, flat.max_in_flight)
end

local SLICE = 0.002
local SLICE_IN_NGINX = 0.001

local function flatten(checked)
  local flat = {}
  for _, name in ipairs(COPIED) do flat[name] = checked[name] end
  follow(flat, checked)
  if flat.loop then flat.max_slice = checked.max_slice or SLICE end
  local again = checked.retry or handling.default_retry()
  flat.retry, flat.retry_func, flat.retry_label = again.policy, again.func, again.label
  flat.letters = letters_of(checked)
  local once = checked.delivery == "at_most_once"
  flat.exhausted = checked.exhausted
    or (checked.dead_letter and "dead_letter" or once and "skip" or "park")
  flat.unreadable_metadata = checked.unreadable_metadata or (once and "fail" or "replay")
  flat.parked_holds = checked.parked_holds or "shard"
  flat.routes = checked.handler
  flat.ordering_header = checked.ordering_key and checked.ordering_key.header
  flat.handler_args = checked.handler_args and checked.handler_args.text
  flat.has_oauth, flat.has_log = checked.oauth_token ~= nil, checked.log ~= nil
  flat.has_events = checked.on_event ~= nil
  flat.package_path, flat.package_cpath = package.path, package.cpath
  return flat
end

local NOT_LOCAL = { "loop", "worker_memory" }

-- What is of worker threads, or of handlers that are coroutines, alone.
local function refuse_of_other_mode(checked)
  if checked.workers == 0 then
    for _, name in ipairs(NOT_LOCAL) do
      if checked[name] ~= nil then
        schema.fail(schema.child("", name), "means nothing with workers = 0")
      end
    end
  elseif checked.max_slice and not checked.loop then
    schema.fail("option 'max_slice'", "only with workers = 0, or a 'loop' in each worker")
  end
end

-- Functions are dumped for worker threads, and kept in local mode.
local function carry(flat)
  if flat.workers == 0 then return end
  topics.carry(flat.routes)
  if flat.retry_func then flat.retry_code = transfer.dump(flat.retry_func, flat.retry_label) end
end

-- What lua/strand/bodies.lua wants to know; nil with worker threads.
local function bodies_of(flat, checked, given)
  if flat.workers > 0 then return nil end
  local routes, retries = {}, {}
  for i, route in ipairs(flat.routes) do
    routes[i] = { module = route.module, func = route.func, name = route.name,
      batch = (route.batch or flat.batch) ~= nil }
    retries[i] = route.retry_func
    if route.retry and not route.retry_func then retries[i] = false end
  end
  retries[#flat.routes + 1] = flat.retry_func
  return { routes = routes, retries = retries, args = given.handler_args,
    max_slice = checked.max_slice or nginx.phase() and SLICE_IN_NGINX or SLICE }
end

-- -> flat table for C, { on_event, log, oauth_token, start_timeout, limits, bodies } for Lua.
-- 'matches(pattern, topic)' is C's regular expressions, or nil.
function consumer.open(given, matches)
  local checked = schema.check(consumer.fields, given, "")
  require_key_ordering(given)
  common.require_token(checked)
  require_dead_letters(checked)
  refuse_second_attempts(checked)
  handling.check_transactions(checked, given)
  refuse_uncommitted(checked)
  refuse_memory_limit(checked)
  refuse_of_other_mode(checked)
  topics.require_patterns(checked.topics, checked.handler, matches)
  topics.require_routes(checked.topics, checked.handler, matches)
  local flat = flatten(checked)
  carry(flat)
  flat.kafka = topics.exclude_internal(checked.topics, checked.kafka, matches)
  return flat, {
    on_event = checked.on_event, log = checked.log, oauth_token = checked.oauth_token,
    start_timeout = checked.start_timeout, bodies = bodies_of(flat, checked, given),
    limits = { max_in_flight = checked.max_in_flight, max_ready = checked.max_ready,
      has_letters = checked.dead_letter ~= nil, delivery = checked.delivery,
      is_local = flat.workers == 0 or nil, loop = flat.loop, workers = flat.loop and flat.workers },
  }
end

-- Changing what runs --------------------------------------------------------

-- A consumer has worker threads, or local mode, for its life.
local function refuse_workers(flat, limits)
  if not flat.workers then return end
  if limits.is_local then
    schema.fail("option 'workers'", "this consumer was opened with workers = 0, and stays so")
  elseif flat.workers == 0 then
    schema.fail("option 'workers'", "this consumer has worker threads: 1 to 256 expected, got 0")
  end
end

local function follow_changes(flat, limits)
  if limits.loop and (flat.workers or flat.max_in_flight) then
    flat.max_in_flight = flat.max_in_flight or limits.max_in_flight
    follow_handlers(flat, limits, limits.workers)
    require_share(limits.workers, flat.max_in_flight)
  elseif limits.is_local then
    if flat.max_in_flight then follow_handlers(flat, limits, 1) end
  elseif flat.workers then
    follow_workers(flat, limits)
  end
end

-- -> flat table for C with what changes, and the new limits. 'limits' are
-- those that 'open' gave.
function consumer.configure(given, limits)
  schema.refuse_fixed(consumer.fields, given, "consumer")
  local flat = schema.check_given(consumer.fields, given, "")
  limits = {
    max_in_flight = flat.max_in_flight or limits.max_in_flight,
    max_ready = flat.max_ready or limits.max_ready,
    has_letters = limits.has_letters, delivery = limits.delivery, is_local = limits.is_local,
    loop = limits.loop, workers = limits.loop and (flat.workers or limits.workers),
  }
  refuse_workers(flat, limits)
  require_letters(flat.exhausted, limits.has_letters, "option 'exhausted'")
  if limits.delivery == "at_most_once" then handling.refuse_second_attempts(flat, "") end
  if limits.delivery == "exactly_once" then handling.refuse_interval(flat) end
  follow_changes(flat, limits)
  if flat.retry then
    flat.retry, flat.retry_func = flat.retry.policy, flat.retry.func
    flat.retry_code = flat.retry_func and not limits.is_local
      and transfer.dump(flat.retry_func, "option 'retry'") or false
  end
  return flat, limits
end

return consumer
