-- What users are told about the options they give: what is wrong is named, and
-- what is right arrives on the C side as lua/strand/options describes it. No
-- broker and no C module is needed here.
local helper = require "spec.support.helper"
local admin = require "strand.options.admin"
local consumer = require "strand.options.consumer"
local manual = require "strand.options.manual"
local methods = require "strand.options.consumer_methods"
local mock = require "strand.options.mock"
local producer = require "strand.options.producer"
local properties = require "strand.properties"

local unpack = table.unpack or unpack
local load_text = loadstring or load
local IS_51 = _VERSION == "Lua 5.1"

local function valid(changes)
  local given = {
    kafka = { ["bootstrap.servers"] = "localhost:9092", ["group.id"] = "g" },
    topics = { "orders" },
    handler = "reconcile",
  }
  for name, value in pairs(changes or {}) do given[name] = value end
  return given
end

local function exactly(changes)
  local given = valid { delivery = "exactly_once", transactional_id = "t" }
  for name, value in pairs(changes) do given[name] = value end
  return given
end

-- The options of valid() without some.
local function without(name)
  local given = valid()
  given[name] = nil
  return given
end

local function kafka(changes)
  local given = valid()
  for name, value in pairs(changes) do given.kafka[name] = value end
  return given
end

local function flat(changes)
  return (consumer.open(valid(changes)))
end

local function message_of(action, ...)
  local ok, message = pcall(action, ...)
  assert.is_false(ok)
  assert.is_string(message)
  return message
end

-- Each case: what is given, and what the message must hold.
local function refuses(action, cases)
  for _, case in ipairs(cases) do
    it("raises: " .. case[2], function()
      assert.matches(case[2], message_of(action, case[1]), 1, true)
    end)
  end
end

local function nested(depth)
  local value = {}
  for _ = 2, depth do value = { value } end
  return value
end

describe("a wrong consumer option", function()
  local cyclic = {}
  cyclic.a = { b = cyclic }
  local huge, nan = math.huge, 0 / 0
  refuses(consumer.open, {
    -- the table itself
    { nil, "options: table expected, got nil" },
    { "orders", "options: table expected, got a string" },
    { {}, "option 'kafka': required, table of librdkafka's properties expected" },
    { without "topics", "option 'topics': required" },
    { without "handler", "option 'handler': required" },

    -- names and near misses
    { valid { wrokers = 3 }, "unknown option 'wrokers' (did you mean 'workers'?)" },
    { valid { Workers = 3 }, "unknown option 'Workers' (did you mean 'workers'?)" },
    { valid { worker = 3 }, "unknown option 'worker' (did you mean 'workers'?)" },
    { valid { topic = "a" }, "unknown option 'topic' (did you mean 'topics'?)" },
    { valid { retries = 3 }, "unknown option 'retries' (did you mean 'retry'?)" },
    { valid { handler = { orders = { "h", retries = 3 } } },
      "unknown option 'handler[\"orders\"].retries' (did you mean 'handler[\"orders\"].retry'?)" },
    { valid { handler = { orders = { "h", dead_line = 3 } } },
      "(did you mean 'handler[\"orders\"].deadline'?)" },
    { valid { order = "key" }, "unknown option 'order'" },
    { valid { "orders" }, "unknown option '1'" },
    { valid { ["group.id"] = "g" },
      "unknown option 'group.id' (librdkafka's properties belong in 'kafka')" },
    { valid { retry = { dealy = 1 } },
      "unknown option 'retry.dealy' (did you mean 'retry.delay'?)" },
    { valid { ordering_key = { name = "x" } }, "unknown option 'ordering_key.name'" },

    -- failures
    { valid { retry = { attempts = 0 } },
      "option 'retry.attempts': whole number from 1 to 65535 expected, got 0" },
    { valid { retry = { attempt = 3 } },
      "unknown option 'retry.attempt' (did you mean 'retry.attempts'?)" },
    { valid { exhausted = "retry" },
      "option 'exhausted': 'retry' is not one of its names (dead_letter, park, skip, stop)" },
    { valid { exhausted = "dead_letter" },
      "option 'exhausted': 'dead_letter' needs the option 'dead_letter.topic'" },
    { valid { handler = { orders = { "a", exhausted = "dead_letter" } } },
      "option 'handler[\"orders\"].exhausted': 'dead_letter' needs the option" },
    { valid { parked_holds = "key" }, "option 'parked_holds': 'key' is not one of its names" },
    { valid { delivery = "once" },
      "option 'delivery': 'once' is not one of its names (at_least_once, at_most_once, "
        .. "exactly_once)" },
    { valid { delivery = "exactly_once" },
      "option 'transactional_id': required with delivery = 'exactly_once'" },
    { valid { transactional_id = "t" },
      "option 'transactional_id': only with delivery = 'exactly_once'" },
    { valid { delivery = "at_most_once", transaction_records = 5 },
      "option 'transaction_records': only with delivery = 'exactly_once'" },
    { exactly { transactional_id = ("x"):rep(70000) },
      "option 'transactional_id': 70000 bytes; Kafka's names have 32750 at most" },
    { kafka { ["group.id"] = ("x"):rep(32751) },
      "option 'kafka[\"group.id\"]': 32751 bytes; Kafka's names have 32750 at most" },
    { kafka { ["client.id"] = ("x"):rep(70000) },
      "option 'kafka[\"client.id\"]': 70000 bytes" },
    { exactly { transactional_id = "" },
      "option 'transactional_id': string expected, got an empty one" },
    { exactly { transaction_interval = 20 },
      "option 'transaction_interval': less than 'transaction_timeout' (10) expected, got 20" },
    { exactly { transaction_records = 0 }, "option 'transaction_records': whole number from 1" },
    { exactly { transaction_timeout = 0.5 }, "option 'transaction_timeout': seconds from 1" },
    { exactly { commit_interval = 1 },
      "option 'commit_interval': means nothing with delivery = 'exactly_once'" },
    { exactly { kafka = { ["bootstrap.servers"] = "b", ["group.id"] = "g",
      ["isolation.level"] = "read_uncommitted" } }, "property 'isolation.level': 'read_uncommitted'" },
    { valid { delivery = "at_most_once", retry = { attempts = 1 } },
      "option 'retry': means nothing with delivery = 'at_most_once': a failure is final" },
    { valid { delivery = "at_most_once", parked_holds = "shard" },
      "option 'parked_holds': means nothing with delivery = 'at_most_once'" },
    { valid { delivery = "at_most_once", exhausted = "park" },
      "option 'exhausted': 'park' means nothing with delivery = 'at_most_once'" },
    { valid { delivery = "at_most_once", handler = { orders = { "a", retry = { delay = 1 } } } },
      "option 'handler[\"orders\"].retry': means nothing" },
    { valid { deadline = 0 }, "option 'deadline': seconds from 0.001 to 86400, or false: none" },
    { valid { deadline = true }, "option 'deadline': seconds from 0.001 to 86400, or false: none "
      .. "expected, got true" },
    { valid { slow_after = -1 }, "option 'slow_after': seconds from 0.001 to 86400" },

    -- dead letters
    { valid { dead_letter = "d" }, "option 'dead_letter': table expected, got a string" },
    { valid { dead_letter = {} }, "option 'dead_letter.topic': required, name of a topic" },
    { valid { dead_letter = { topic = "^d" } }, "option 'dead_letter.topic': '^d' is no name" },
    { valid { dead_letter = { topic = "d", partition = 3 } },
      "option 'dead_letter.partition': one of key, same expected, got 3" },
    { valid { dead_letter = { topic = "d", reason = "all" } },
      "option 'dead_letter.reason': 'all' is not one of its names (text, class, none)" },
    { valid { dead_letter = { topic = "d", max_reason = 16385 } },
      "option 'dead_letter.max_reason': whole number of bytes from 0 to 16384" },
    { valid { dead_letter = { topic = "d", allow_value_drop = 1 } },
      "option 'dead_letter.allow_value_drop': true or false expected, got 1" },
    { valid { max_staged_bytes = 0 },
      "option 'max_staged_bytes': whole number of bytes from 1 to" },
    { valid { deadletter = { topic = "d" } },
      "unknown option 'deadletter' (did you mean 'dead_letter'?)" },
    { valid { dead_letter = { topic = "d" }, producer = { partitioner = "md5" } },
      "option 'producer.partitioner': 'md5' is not one of its names" },
    { valid { dead_letter = { topic = "d" }, producer = { kafka = { dr_cb = "x" } } },
      "option 'producer.kafka[\"dr_cb\"]': not to be set: the option 'on_delivery'" },

    -- limits
    { valid { rate = {} }, "option 'rate.records_per_second': required, number from" },
    { valid { rate = 5 }, "option 'rate': table expected, got 5" },
    { valid { rate = { records_per_second = 0 } },
      "option 'rate.records_per_second': number from 1e-06 to 1000000000 expected, got 0" },
    { valid { rate = { records_per_second = 5, burst = 0.5 } }, "option 'rate.burst': number" },
    { valid { rate = { per_second = 5 } }, "unknown option 'rate.per_second'" },
    { valid { worker_memory = 1000 }, "option 'worker_memory': whole number of bytes from 1048576" },
    { valid { batch = 100 }, "option 'batch': table expected, got 100" },
    { valid { batch = {} }, "option 'batch.size': required, whole number from 1 to 10000" },
    { valid { batch = { size = 2, by = "topic" } },
      "option 'batch.by': 'topic' is not one of its names (mixed, key, partition)" },
    { valid { batch = { size = 2, linger = -1 } }, "option 'batch.linger': seconds from 0" },

    -- whole numbers
    { valid { workers = 1.5 }, "option 'workers': whole number from 0 to 256 expected, got 1.5" },
    { valid { workers = 257 }, "whole number from 0 to 256 expected, got 257" },
    { valid { workers = -1 }, "whole number from 0 to 256 expected, got -1" },
    { valid { workers = nan }, "whole number from 0 to 256 expected, got nan" },
    { valid { workers = huge }, "whole number from 0 to 256 expected, got inf" },
    { valid { workers = 1e300 }, "whole number from 0 to 256 expected, got 1e+300" },
    { valid { workers = "8" }, "whole number from 0 to 256 expected, got a string" },
    { valid { workers = false }, "whole number from 0 to 256 expected, got false" },
    { valid { max_slice = 0.01 },
      "option 'max_slice': only with workers = 0, or a 'loop' in each worker" },
    { valid { workers = 0, loop = "cqueues" }, "option 'loop': means nothing with workers = 0" },
    { valid { loop = "copas" }, "option 'loop': 'copas' is not one of its names (cqueues, luv)" },
    { valid { loop = "luv", workers = 9, max_in_flight = 8 },
      "option 'workers': at most 'max_in_flight' (8) expected with 'loop', got 9" },
    { valid { workers = 0, worker_memory = 2 ^ 24 },
      "option 'worker_memory': means nothing with workers = 0" },
    { valid { workers = 0, max_in_flight = 100001 },
      "option 'max_in_flight': whole number from 1 to 100000" },
    { valid { members = 65 }, "option 'members': whole number from 1 to 64 expected, got 65" },
    { valid { max_metadata = -1 }, "option 'max_metadata': whole number from 0 to 32767" },
    { valid { max_in_flight = 0 }, "option 'max_in_flight': whole number from 1 to 100000" },
    { valid { max_buffered_bytes = 0.5 },
      "option 'max_buffered_bytes': whole number of bytes from 1 to 1099511627776 expected" },

    -- seconds and numbers
    { valid { commit_interval = 0 }, "option 'commit_interval': seconds from 0.01 to 86400" },
    { valid { revoke_grace = -1 }, "option 'revoke_grace': seconds from 0 to 86400" },
    { valid { start_timeout = nan }, "seconds from 0.001 to 86400 expected, got nan" },
    { valid { start_timeout = huge }, "seconds from 0.001 to 86400 expected, got inf" },
    { valid { retry = { factor = 0.5 } }, "option 'retry.factor': number from 1 to 1000" },
    { valid { retry = { delay = huge } }, "option 'retry.delay': seconds from 0 to 86400 expected" },
    { valid { retry = { max_delay = 1e308 } },
      "option 'retry.max_delay': seconds from 0 to 86400 expected, got 1e+308" },
    { valid { retry = { jitter = 1.5 } }, "option 'retry.jitter': number from 0 to 1" },
    { valid { retry = { delay = 9, max_delay = 3 } },
      "option 'retry.max_delay': at least 'delay' (9) expected, got 3" },
    { valid { retry = 3 }, "option 'retry': table, or function(attempt, reason, record) "
      .. "-> seconds or nil expected, got 3" },

    -- names of values
    { valid { ordering = "keys" },
      "option 'ordering': 'keys' is not one of its names (key, partition, unordered)" },
    { valid { ordering = 1 }, "option 'ordering': one of key, partition, unordered expected, got 1" },
    { valid { null_key = "none" },
      "option 'null_key': 'none' is not one of its names (partition, unordered)" },
    { valid { unreadable_metadata = "skip" }, "(replay, fail)" },
    { valid { ordering = "partition", null_key = "partition" },
      "option 'null_key': only with ordering = 'key'" },
    { valid { ordering = "unordered", ordering_key = { header = "h" } },
      "option 'ordering_key': only with ordering = 'key'" },
    { valid { ordering_key = {} }, "option 'ordering_key.header': required" },
    { valid { ordering_key = { header = 5 } }, "option 'ordering_key.header': name of a header" },
    { valid { ordering_key = { header = "a\0" } }, "option 'ordering_key.header': a zero byte" },
    { valid { ordering_key = "h" }, "option 'ordering_key': table expected, got a string" },

    -- functions
    { valid { on_event = "print" }, "option 'on_event': function expected, got a string" },
    { valid { log = true }, "option 'log': function, or false: none expected, got true" },
    { valid { oauth_token = "t" }, "option 'oauth_token': function expected, got a string" },

    -- topics
    { valid { topics = "orders" }, "option 'topics': list of topic names and ^patterns expected" },
    { valid { topics = { "^" .. ("a"):rep(1024) } },
      "option 'topics[1]': a pattern of at most 1024 characters expected, got 1025" },
    { valid { topics = {} }, "option 'topics': list of topic names and ^patterns expected, "
      .. "got an empty one" },
    { valid { topics = { "a\0b" } }, "option 'topics[1]': 'a\\x00b' is no name of a topic" },
    { valid { topics = { a = "b" } }, "option 'topics': list of topic names and ^patterns expected, "
      .. "got a table with names or holes" },
    { valid { topics = { "a", nil, "b" } }, "option 'topics': list of" },
    { valid { topics = { "a", "a" } }, "option 'topics[2]': 'a' stands there twice" },
    { valid { topics = { "a b" } }, "option 'topics[1]': 'a b' is no name of a topic" },
    { valid { topics = { "" } }, "option 'topics[1]': '' is no name of a topic" },
    { valid { topics = { ".." } }, "'..' is no name of a topic" },
    { valid { topics = { ("x"):rep(250) } }, "is no name of a topic (1 to 249 of" },
    { valid { topics = { 7 } }, "option 'topics[1]': name of a topic expected, got 7" },

    -- handler_args
    { valid { handler_args = print }, "option 'handler_args': a function cannot be carried" },
    { valid { handler_args = { db = { open = print } } },
      "option 'handler_args.db.open': a function cannot be carried to worker threads" },
    { valid { handler_args = { 1, { io.stdout } } }, "option 'handler_args[2][1]': a userdata" },
    { valid { handler_args = cyclic },
      "option 'handler_args.a.b': a table that contains itself" },
    { valid { handler_args = { x = setmetatable({}, {}) } },
      "option 'handler_args.x': a table with a metatable" },
    { valid { handler_args = { [{}] = 1 } }, "option 'handler_args': a table as a key" },
    { valid { handler_args = { [print] = 1, [error] = 2 } },
      "option 'handler_args': a function as a key" },
    { valid { handler_args = nested(101) }, "nested deeper than 100 tables" },
  })

  it("is not shown whole when it is long", function()
    local long = ("x"):rep(1000000)
    local pattern = "^" .. ("\195\164"):rep(500)
    local other = "^" .. ("\195\164"):rep(499) .. "xy"
    local cases = {
      valid { [long] = 1 }, valid { retry = { [long] = 1 } }, kafka { [long] = {} },
      valid { handler = { [long] = "module" } },
      valid { handler = { [pattern] = "module", [other] = "module" }, topics = { pattern } },
      valid { handler = { orders = { "module", [long] = 1 } } }, valid { topics = { long } },
      valid { topics = { pattern, pattern } }, valid { ordering = long }, valid { exhausted = long },
      valid { dead_letter = { topic = long } }, valid { handler_args = { [long] = print } },
      valid { handler_args = { a = { [long] = { [long] = io.stdout } } } },
      valid { batch = { size = 2, by = long } },
    }
    for i, case in ipairs(cases) do
      local message = message_of(consumer.open, case)
      assert.is_true(#message < 1500, i .. ": " .. #message)
      local _, bytes = message:gsub("%.%.%. %(%d+ bytes%)", "")
      assert.is_true(bytes >= 1, message:sub(1, 300))
      assert.is_nil(message:find("\195%.%.%."), "cut within a character")
    end
  end)

  it("is reported at the line that called", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local message = message_of(function() consumer.open { wrokers = 1 } end)
    assert.matches("options_spec.lua:" .. line .. ": unknown", message, 1, true)
  end)

  it("is reported at the same one each time", function()
    local message = message_of(consumer.open, valid { zzzz = 1, aaaa = 1, mmmm = 1 })
    assert.matches("'aaaa'", message, 1, true)
  end)

  it("is refused when handler_args are too many", function()
    local many = {}
    for i = 1, 20001 do many[i] = i end
    assert.matches("option 'handler_args': more than 20000 values",
      message_of(consumer.open, valid { handler_args = many }), 1, true)
  end)
end)

describe("a property of librdkafka", function()
  refuses(consumer.open, {
    { valid { kafka = "localhost" }, "option 'kafka': table of librdkafka's properties expected" },
    { valid { kafka = { ["group.id"] = "g" } }, "option 'kafka': 'bootstrap.servers' is required" },
    { valid { kafka = { ["bootstrap.servers"] = "b" } }, "option 'kafka': 'group.id' is required" },
    { valid { kafka = { ["bootstrap.server"] = "b", ["group.id"] = "g" } },
      "'bootstrap.servers' is required (given is 'bootstrap.server')" },
    { valid { kafka = { ["bootstrap.servers"] = "b", group_id = "g" } },
      "'group.id' is required (given is 'group_id')" },
    { kafka { "x" }, "option 'kafka': names of librdkafka's properties expected, got 1" },
    { kafka { ["client.id"] = {} },
      "option 'kafka[\"client.id\"]': string, number or boolean expected, got a table" },
    { kafka { ["client.id"] = "a\0b" }, "option 'kafka[\"client.id\"]': a zero byte inside" },
    { kafka { ["fetch.min.bytes"] = 0 / 0 }, "string, number or boolean expected, got nan" },
    { kafka { ["bootstrap.servers"] = "" },
      "option 'kafka[\"bootstrap.servers\"]': string expected, got an empty one" },
  })

  for _, name in ipairs { "enable.auto.commit", "enable.auto.offset.store", "opaque",
    "enable.partition.eof", "rebalance_cb", "stats_cb", "log_cb", "offset_commit_cb",
    "default_topic_conf", "consume.callback.max.messages", "plugin.library.paths", "log.queue",
    "interceptors" } do
    it("that strand owns is refused by name: " .. name, function()
      local message = message_of(consumer.open, kafka { [name] = "true" })
      assert.matches(("option 'kafka[\"%s\"]': not to be set: "):format(name), message, 1, true)
    end)
  end

  it("arrives as a string, in the order of the names", function()
    local got = consumer.open(kafka {
      ["session.timeout.ms"] = 6000, ["socket.keepalive.enable"] = true, ["client.id"] = "",
    }).kafka
    assert.same({
      { "bootstrap.servers", "localhost:9092" }, { "client.id", "" }, { "group.id", "g" },
      { "session.timeout.ms", "6000" }, { "socket.keepalive.enable", "true" },
    }, got)
  end)

  for _, name in ipairs { "sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.username",
    "ssl.keystore.password", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config",
    "ssl.key.locatoin", "ssl.certificate.pem", "sasl.jaas.config",
    "sasl.oauthbearer.token.endpoint.url" } do
    it("that is a secret stays out of messages: " .. name, function()
      local secret = "hunter-2%+"
      local message = message_of(consumer.open, kafka { [name] = secret .. "\0" })
      assert.is_nil(message:find(secret, 1, true))
      message = properties.hide_secrets("no good: " .. secret .. ".", { { name, secret } })
      assert.equal("no good: ***.", message)
    end)
  end

  it("that is no secret stays in messages", function()
    for _, name in ipairs { "client.id", "ssl.ca.location", "ssl.key.location", "ssl.keystore.location" } do
      assert.equal("bad: x1", properties.hide_secrets("bad: x1", { { name, "x1" } }))
    end
    assert.equal("*** and ***", properties.hide_secrets("pass and password",
      { { "sasl.password", "pass" }, { "ssl.key.password", "password" } }))
  end)
end)

describe("a secret in the wrong place", function()
  it("stays out of the message", function()
    for _, given in ipairs { valid { ["sasl.password"] = "hunter2" },
      valid { workers = "hunter2" }, valid { kafka = "hunter2" } } do
      assert.is_nil(message_of(consumer.open, given):find("hunter2", 1, true))
    end
  end)
end)

describe("the options of a consumer", function()
  it("have their defaults filled in", function()
    local got, own = consumer.open(valid())
    assert.same({ attempts = 10, delay = 1, factor = 2, max_delay = 60, jitter = 0.5 }, got.retry)
    assert.same({ { module = "reconcile", name = "reconcile" } }, got.routes)
    local expected = {
      members = 1, ordering = "key", null_key = "partition", workers = 16, max_in_flight = 16,
      max_ready = 1024, max_buffered_records = 100000, max_buffered_bytes = 67108864,
      max_waiting_records = 100000, max_waiting_bytes = 67108864, max_metadata = 4096,
      commit_interval = 5, revoke_grace = 5, unreadable_metadata = "replay", slow_after = 10,
      exhausted = "park", parked_holds = "shard", delivery = "at_least_once",
      has_oauth = false, has_log = false,
      package_path = package.path, package_cpath = package.cpath,
    }
    for name, value in pairs(expected) do assert.equal(value, got[name], name) end
    for _, name in ipairs { "ordering_header", "start_timeout", "retry_code", "handler_args",
      "deadline", "rate", "batch", "worker_memory", "letters" } do
      assert.is_nil(got[name], name)
    end
    assert.same({ limits = { has_letters = false, delivery = "at_least_once" } }, own)
  end)

  it("are more where it is exactly once: what the producer needs, and its transactions", function()
    local got = consumer.open(exactly {})
    assert.same({ "t", 0.5, 10000, 10 }, { got.transactional_id, got.transaction_interval,
      got.transaction_records, got.transaction_timeout })
    assert.equal("park", got.exhausted)
    assert.is_nil(got.letters.topic)
    assert.is_nil(got.letters.produces)
    assert.equal("bootstrap.servers", got.letters.kafka[1][1])
  end)

  it("are others where a record is handled at most once", function()
    local got = consumer.open(valid { delivery = "at_most_once" })
    assert.same({ "skip", "fail" }, { got.exhausted, got.unreadable_metadata })
    got = consumer.open(valid { delivery = "at_most_once", unreadable_metadata = "replay",
      exhausted = "stop" })
    assert.same({ "stop", "replay" }, { got.exhausted, got.unreadable_metadata })
  end)

  it("are of local mode where there are no workers", function()
    local value = 5
    local function handler() return value end
    local function retry() return value end
    local got, own = consumer.open(valid { workers = 0, handler = { orders = { handler, retry = retry } },
      retry = retry, handler_args = { "x" } })
    assert.equal(256, got.max_in_flight)
    assert.equal(64, got.max_ready)
    assert.equal(5000, flat { workers = 0, max_in_flight = 20000 }.max_ready)
    assert.is_nil(got.routes[1].code)
    assert.equal(handler, own.bodies.routes[1].func)
    assert.same({ retry, retry }, own.bodies.retries)
    assert.equal(0, got.retry.attempts)
    assert.same({ "x" }, own.bodies.args)
    assert.equal(0.002, own.bodies.max_slice)
    assert.is_true(own.limits.is_local)
    local changes = consumer.configure({ retry = retry, max_in_flight = 2000 }, own.limits)
    assert.equal(500, changes.max_ready)
    assert.equal(retry, changes.retry_func)
    assert.is_false(changes.retry_code)
    assert.has_error(function() consumer.configure({ workers = 3 }, own.limits) end,
      "option 'workers': this consumer was opened with workers = 0, and stays so")
  end)

  it("that follow the number of workers do so unless given", function()
    assert.equal(4, flat { workers = 4 }.max_in_flight)
    assert.equal(256, flat { workers = 4 }.max_ready)
    assert.equal(2, flat { workers = 4, max_in_flight = 2 }.max_in_flight)
  end)

  it("have 256 handlers for each worker that has a loop, unless given", function()
    local got, own = consumer.open(valid { workers = 3, loop = "luv" })
    assert.same({ 768, 192, 0.002 }, { got.max_in_flight, got.max_ready, got.max_slice })
    assert.is_nil(own.bodies)
    local changes, limits = consumer.configure({ workers = 5 }, own.limits)
    assert.same({ 1280, 320 }, { changes.max_in_flight, changes.max_ready })
    changes, limits = consumer.configure({ max_in_flight = 2000 }, limits)
    assert.same({ 2000, 500 }, { changes.max_in_flight, changes.max_ready })
    assert.equal(2000, (consumer.configure({ workers = 7 }, limits)).max_in_flight)
    assert.has_error(function() consumer.configure({ max_in_flight = 4 }, limits) end,
      "option 'workers': at most 'max_in_flight' (4) expected with 'loop', got 5")
  end)

  it("are not changed and not kept", function()
    local given = valid { retry = { delay = 2 }, handler = { orders = { "a" } } }
    local topics, retry, entry = given.topics, given.retry, given.handler.orders
    local got = consumer.open(given)
    assert.same({ "orders" }, topics)
    assert.same({ delay = 2 }, retry)
    assert.same({ "a" }, entry)
    assert.are_not.equal(topics, got.topics)
    assert.are_not.equal(retry, got.retry)
    assert.is_nil(given.workers)
  end)

  it("take a whole number that is written as a float", function()
    local workers = flat { workers = 4.0 }.workers
    assert.equal("4", tostring(workers))
  end)

  it("lift the longest wait to the first one", function()
    assert.equal(90, flat { retry = { delay = 90 } }.retry.max_delay)
  end)

  it("keep callbacks on the Lua side", function()
    local f = function() end
    local got, own = consumer.open(valid { on_event = f, log = f, oauth_token = f })
    assert.is_true(got.has_log)
    assert.is_true(got.has_oauth)
    assert.equal(f, own.on_event)
    assert.equal(f, own.log)
    assert.equal(f, own.oauth_token)
  end)

  it("give the header to order by", function()
    assert.equal("sync_id", flat { ordering_key = { header = "sync_id" } }.ordering_header)
  end)
end)

describe("dead letters", function()
  local function letters(changes)
    changes.dead_letter = changes.dead_letter or { topic = "d" }
    return flat(changes).letters
  end

  it("have their defaults filled in, and take what is exhausted", function()
    local got = letters {}
    assert.same({ { "bootstrap.servers", "localhost:9092" } }, got.kafka)
    got.kafka = nil
    assert.same({ topic = "d", partition = "key", reason = "text", max_reason = 1024,
      allow_value_drop = false, partitioner = "murmur2_random" }, got)
    assert.equal("dead_letter", flat { dead_letter = { topic = "d" } }.exhausted)
    assert.equal("park", flat { dead_letter = { topic = "d" }, exhausted = "park" }.exhausted)
  end)

  it("go over the consumer's connection, and leave alone what consumers read by", function()
    local given = kafka { ["security.protocol"] = "ssl", ["sasl.password"] = "p",
      ["client.id"] = "c", ["fetch.min.bytes"] = 1, ["session.timeout.ms"] = 6000,
      ["auto.offset.reset"] = "latest", ["group.instance.id"] = "i", ["socket.timeout.ms"] = 9 }
    given.dead_letter = { topic = "d" }
    assert.same({ { "bootstrap.servers", "localhost:9092" }, { "client.id", "c" },
      { "sasl.password", "p" }, { "security.protocol", "ssl" }, { "socket.timeout.ms", "9" },
    }, (consumer.open(given)).letters.kafka)
  end)

  it("may go elsewhere", function()
    assert.same({ { "bootstrap.servers", "other:9092" }, { "linger.ms", "0" } }, letters {
      producer = { kafka = { ["bootstrap.servers"] = "other:9092", ["linger.ms"] = 0 } },
    }.kafka)
    assert.equal("fnv1a", letters { producer = { partitioner = "fnv1a" } }.partitioner)
    -- One property to librdkafka, of which the last counts.
    local given = kafka { ["sasl.mechanisms"] = "PLAIN" }
    given.dead_letter = { topic = "d" }
    given.producer = { kafka = { ["sasl.mechanism"] = "SCRAM-SHA-256" } }
    assert.same({ { "bootstrap.servers", "localhost:9092" }, { "sasl.mechanisms", "PLAIN" },
      { "sasl.mechanism", "SCRAM-SHA-256" } }, consumer.open(given).letters.kafka)
  end)
end)

describe("a handler", function()
  local outer, other = {}, {}

  it("that is a function travels as its bytes, with its place as name", function()
    local got = flat { handler = function(record) return record.key end }.routes[1]
    assert.is_nil(got.module)
    assert.matches("options_spec%.lua:%d+$", got.name)
    assert.equal("k", load_text(got.code)({ key = "k" }))
  end)

  it("may use globals", function()
    local code = flat { handler = function() return tostring(1) end }.routes[1].code
    assert.is_string(code)
  end)

  it("with upvalues is refused, and they are named", function()
    local message = message_of(flat, { handler = function() return outer, other end })
    assert.matches("option 'handler': the function at ", message, 1, true)
    assert.matches("uses 'outer', 'other' from outside it", message, 1, true)
  end)

  it("in C is refused", function()
    assert.matches("option 'handler': a C function cannot be carried",
      message_of(flat, { handler = print }), 1, true)
  end)

  if not IS_51 and pcall(string.dump, function() end, true) and _VERSION ~= "Lua 5.2" then
    it("whose upvalues have no names any more is refused", function()
      local stripped = load(string.dump(function() return print end, true))
      assert.matches("option 'handler': the function was compiled without debug information",
        message_of(flat, { handler = stripped }), 1, true)
    end)
  end

  it("may be a function as retry policy, under the same rules", function()
    local got = flat { retry = function(attempt) return attempt * 2 end }
    assert.equal(6, load_text(got.retry_code)(3))
    assert.equal(0, got.retry.attempts) -- it alone says when it is enough
    assert.matches("option 'retry': the function at ",
      message_of(flat, { retry = function() return outer end }), 1, true)
  end)

  refuses(consumer.open, {
    { valid { handler = 3 }, "option 'handler': name of a module or function expected, got 3" },
    { valid { handler = "" }, "option 'handler': name of a module expected, got an empty" },
    { valid { handler = {} }, "option 'handler': no route in it" },
  })
end)

describe("patterns", function()
  local matches = require "strand.core".matches

  local function excluded(names, given)
    local options_given = valid { topics = names }
    options_given.kafka["topic.blacklist"] = given
    for _, pair in ipairs((consumer.open(options_given, matches)).kafka) do
      if pair[1] == "topic.blacklist" then return pair[2] end
    end
  end

  local INTERNAL = "^__consumer_offsets$,^__transaction_state$,^__share_group_state$,"
    .. "^__cluster_metadata$,^__remote_log_metadata$"

  it("do not find Kafka's internal topics", function()
    assert.equal(INTERNAL, excluded { "orders", "^.*" })
    assert.is_nil(excluded { "orders", "__consumer_offsets" })
  end)

  it("find those that are named", function()
    assert.equal(INTERNAL:gsub("^[^,]*,", "", 1), (excluded { "^.*", "__consumer_offsets" }))
  end)

  it("do not find what topic.blacklist excludes either", function()
    assert.equal("^a,,b,^c," .. INTERNAL, excluded({ "^.*" }, "^a,,b,^c"))
    assert.equal("^a," .. INTERNAL, excluded({ "^.*" }, "^a,"))
    assert.equal("^a", excluded({ "orders" }, "^a"))
    assert.equal("", excluded({ "orders" }, ""))
  end)

  it("of topic.blacklist must not exclude what is named", function()
    for _, given in ipairs { "^or", "^x,d.r", "^x,^o{1,,2}r" } do
      assert.matches("option 'topics[1]': 'orders' is excluded by the property 'topic.blacklist'",
        message_of(excluded, { "orders" }, given), 1, true)
    end
    assert.equal("^,,or", excluded({ "orders" }, "^,,or"))
  end)
end)

describe("routes", function()
  local function topics_of(handler, topics)
    local names = {}
    for i, route in ipairs(flat { topics = topics or { "^." }, handler = handler }.routes) do
      names[i] = route.topic
    end
    return names
  end

  it("come exact ones first, then the longest pattern", function()
    assert.same({ "a", "orders", "^eu-orders", "^eu-", "^." }, topics_of {
      ["^."] = "x", orders = "x", ["^eu-"] = "x", a = "x", ["^eu-orders"] = "x",
    })
  end)

  it("may have a retry policy of their own", function()
    local got = flat { topics = { "^." }, handler = {
      orders = { handler = "a", retry = { delay = 3 } },
      refunds = { "b", retry = function() return 7 end },
      rest = "c",
    } }.routes
    assert.equal("a", got[1].module)
    assert.same({ attempts = 10, delay = 3, factor = 2, max_delay = 60, jitter = 0.5 },
      got[1].retry)
    assert.is_nil(got[1].retry_code)
    assert.equal("b", got[2].module)
    assert.equal(7, load_text(got[2].retry_code)())
    assert.is_nil(got[3].retry)
  end)

  it("may have limits, batches and ends of their own", function()
    local got = flat { dead_letter = { topic = "d" }, topics = { "^." }, handler = {
      orders = { "a", exhausted = "stop", deadline = 3, batch = { size = 9, by = "key" },
        rate = { records_per_second = 0.5 }, max_in_flight = 2 },
      refunds = { "b", deadline = false, rate = false },
      rest = "c",
    } }.routes
    assert.same({ topic = "orders", module = "a", name = "a", exhausted = "stop", deadline = 3,
      batch = { size = 9, linger = 0, by = "key" }, max_in_flight = 2,
      rate = { records_per_second = 0.5, burst = 1 } }, got[1])
    assert.same({ topic = "refunds", module = "b", name = "b", deadline = 0,
      rate = { records_per_second = 0, burst = 1 } }, got[2])
    assert.same({ topic = "rest", module = "c", name = "c" }, got[3])
  end)

  it("of equal length that no topic can both match are no tie", function()
    assert.same({ "^eu-x", "^us-x" }, topics_of { ["^us-x"] = "a", ["^eu-x"] = "b" })
  end)

  it("are asked of C where patterns decide", function()
    local given = valid { topics = { "orders" }, handler = { ["^eu-"] = "a" } }
    assert.has_no.errors(function() consumer.open(given) end)
    assert.has_no.errors(function() consumer.open(given, function() return true end) end)
    assert.matches("option 'handler': no route for the topic 'orders'",
      message_of(consumer.open, given, function() return false end), 1, true)
  end)

  it("that nothing reaches are refused, with what was probably meant", function()
    local handler = { ["^."] = "a", paymnets = "b" }
    local function message(subscribed)
      return message_of(consumer.open, valid { topics = subscribed, handler = handler },
        require "strand.core".matches)
    end
    assert.matches("option 'handler[\"paymnets\"]': no topic or pattern of 'topics' reaches it "
      .. "(did you mean 'payments'?)", message { "orders", "payments" }, 1, true)
    assert.matches("reaches it$", message { "^payments" })
    assert.has_no.errors(function() flat { topics = { "^pay" }, handler = handler } end)
    assert.matches("no route for the topic 'payments' (did you mean 'paymnets'?)",
      message_of(consumer.open, valid { topics = { "payments" }, handler = { paymnets = "b" } }),
      1, true)
  end)

  it("for an internal topic need its name in 'topics'", function()
    local handler = { ["^."] = "a", ["__consumer_offsets"] = "b" }
    assert.matches("reaches it", message_of(flat, { topics = { "^.*" }, handler = handler }), 1, true)
    flat { topics = { "^.*", "__consumer_offsets" }, handler = handler }
  end)

  it("are refused where C cannot compile them", function()
    local message = message_of(consumer.open, valid { topics = { "^(" }, handler = "a" },
      require "strand.core".matches)
    assert.matches("option 'topics': pattern '^(': ", message, 1, true)
  end)

  refuses(consumer.open, {
    { valid { handler = { refunds = "a" } }, "option 'handler': no route for the topic 'orders'" },
    { valid { handler = { handle = print, setup = print } }, "a module is given by its name" },
    { valid { handler = { ["^.*-eu"] = "a", ["^or.er"] = "b" } },
      "option 'handler': the patterns '^.*-eu' and '^or.er' are equally long" },
    { valid { handler = { ["^eu|usa"] = "a", ["^orders"] = "b", ["^ordeal"] = "c" } },
      "are equally long" },
    { valid { handler = { ["a b"] = "a" } }, "option 'handler[\"a b\"]': 'a b' is no name" },
    { valid { handler = { "a" } }, "option 'handler[1]': name of a topic expected, got 1" },
    { valid { handler = { orders = {} } }, "option 'handler[\"orders\"].handler': required" },
    { valid { handler = { orders = { "a", handler = "b" } } }, "option 'handler[\"orders\"]': two" },
    { valid { handler = { orders = { "a", deadline = "3" } } },
      "option 'handler[\"orders\"].deadline': seconds from 0.001 to 86400, or false: none" },
    { valid { handler = { orders = { "a", slow_after = 3 } } },
      "unknown option 'handler[\"orders\"].slow_after'" },
    { valid { handler = { orders = { "a", max_in_flight = 0 } } },
      "option 'handler[\"orders\"].max_in_flight': whole number from 1 to 100000 expected, got 0" },
    { valid { handler = { orders = { "a", rate = { records_per_second = "5" } } } },
      "option 'handler[\"orders\"].rate.records_per_second': number" },
    { valid { handler = { orders = { "a", retry = { jitter = 2 } } } },
      "option 'handler[\"orders\"].retry.jitter': number from 0 to 1 expected, got 2" },
  })
end)

describe("handler_args", function()
  local function carried(value)
    return load_text(flat { handler_args = value }.handler_args)()
  end

  local function bits(n)
    if n ~= n then return "nan" end
    return ("%s %.17g %.17g"):format(math.type and math.type(n) or "number", n, 1 / n)
  end

  it("arrive with every number as it was", function()
    local numbers = { 0, -0.0, 1, -1, 0.1, 1 / 3, -1e-300, 5e-324, 1e300, 2 ^ 31, 2 ^ 53,
      2 ^ 53 + 2, 2 ^ 63, -2 ^ 63, 3.0, math.huge, -math.huge, 0 / 0, 123456789012345 }
    if math.type then
      for _, n in ipairs { math.maxinteger, math.mininteger, math.tointeger(2 ^ 53) } do
        numbers[#numbers + 1] = n
      end
    end
    local got = carried(numbers)
    assert.equal(#numbers, #got)
    for i, n in ipairs(numbers) do assert.equal(bits(n), bits(got[i])) end
  end)

  it("arrive with every byte of a string", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes) .. "1\n2\r\n3\\\"%q\0009"
    assert.equal(all, carried(all))
    assert.equal(1, carried { [all] = 1 }[all])
  end)

  it("arrive as the same tree", function()
    local shared = { "x" }
    local tree = { 1, "two", { three = { 4, false } }, [10] = true, [false] = "f", [1.5] = "h",
      ["end"] = {}, [-3] = "n", a = shared, b = shared }
    assert.same(tree, carried(tree))
    assert.same(nested(100), carried(nested(100)))
  end)

  it("may be 20,000 values", function()
    local many = {}
    for i = 1, 9999 do many["key" .. i] = { i + 0.5 } end
    assert.same(many, carried(many))
  end)

  it("may be a single value, and false", function()
    assert.equal(false, carried(false))
    assert.equal("x", carried "x")
    assert.is_nil(flat {}.handler_args)
  end)

  it("give the same text each time", function()
    local function value() return { b = 1, a = 2, [3] = 4, [true] = 5, c = { d = 6, e = 7 } } end
    assert.equal(flat { handler_args = value() }.handler_args,
      flat { handler_args = value() }.handler_args)
  end)
end)

describe("configure", function()
  it("gives only what changes", function()
    assert.same({ commit_interval = 1 }, (consumer.configure({ commit_interval = 1 }, {})))
  end)

  it("lets limits follow the workers that were never given", function()
    assert.same({ workers = 8, max_in_flight = 8, max_ready = 512 },
      (consumer.configure({ workers = 8 }, {})))
    assert.same({ workers = 8, max_ready = 512 },
      (consumer.configure({ workers = 8 }, { max_in_flight = 4 })))
  end)

  it("keeps in mind which limits were given", function()
    local _, limits = consumer.configure({ max_ready = 9 }, { max_in_flight = 4 })
    assert.same({ max_in_flight = 4, max_ready = 9 }, limits)
  end)

  it("says when a retry function is gone", function()
    local got = consumer.configure({ retry = { delay = 2 } }, {})
    assert.equal(2, got.retry.delay)
    assert.is_false(got.retry_code)
  end)

  it("takes the limits away that are false", function()
    assert.same({ deadline = 0, slow_after = 0, rate = { records_per_second = 0, burst = 1 } },
      (consumer.configure({ deadline = false, slow_after = false, rate = false }, {})))
  end)

  it("knows whether there are dead letters", function()
    local got = consumer.configure({ exhausted = "dead_letter" }, { has_letters = true })
    assert.equal("dead_letter", got.exhausted)
  end)

  for _, name in ipairs { "kafka", "topics", "members", "oauth_token", "ordering", "ordering_key",
    "null_key", "handler", "handler_args", "batch", "max_metadata", "worker_memory",
    "start_timeout", "unreadable_metadata", "dead_letter", "producer", "parked_holds", "on_event",
    "log" } do
    it("refuses what cannot change: " .. name, function()
      local given = valid { members = 2, oauth_token = print, ordering = "key",
        ordering_key = { header = "h" }, null_key = "partition", handler_args = 1,
        batch = { size = 1 }, max_metadata = 9, worker_memory = 2 ^ 20, start_timeout = 1,
        unreadable_metadata = "fail", dead_letter = { topic = "d" }, producer = {},
        parked_holds = "record", on_event = print, log = print }
      assert.matches(("option '%s': cannot be changed while the consumer runs"):format(name),
        message_of(consumer.configure, { [name] = given[name] }, {}), 1, true)
    end)
  end

  refuses(function(given) consumer.configure(given, { delivery = "at_most_once" }) end, {
    { { retry = { delay = 2 } }, "option 'retry': means nothing with delivery = 'at_most_once'" },
    { { exhausted = "park" }, "option 'exhausted': 'park' means nothing with delivery" },
    { { delivery = "at_least_once" }, "option 'delivery': cannot be changed while" },
  })

  refuses(function(given) consumer.configure(given, { delivery = "exactly_once" }) end, {
    { { commit_interval = 2 }, "option 'commit_interval': means nothing with delivery" },
    { { transaction_interval = 2 }, "option 'transaction_interval': cannot be changed while" },
  })

  refuses(function(given) consumer.configure(given, {}) end, {
    { { exhausted = "dead_letter" }, "option 'exhausted': 'dead_letter' needs the option" },
    { { rate = { burst = 3 } }, "option 'rate.records_per_second': required" },
    { { ordering = "key" }, "option 'ordering': cannot be changed while the consumer runs" },
    { { handler = "x" }, "option 'handler': cannot be changed while the consumer runs" },
    { { kafka = {} }, "option 'kafka': cannot be changed while the consumer runs; what can be: "
      .. "workers, max_in_flight, " },
    { { topics = 7, workers = 2 }, "option 'topics': cannot be changed" },
    { { workers = 0 }, "option 'workers': this consumer has worker threads: 1 to 256 expected" },
    { { wrokers = 1 }, "unknown option 'wrokers' (did you mean 'workers'?)" },
    { 3, "options: table expected, got 3" },
  })
end)

describe("the options of a producer", function()
  local function with(changes)
    local given = { kafka = { ["bootstrap.servers"] = "b" } }
    for name, value in pairs(changes or {}) do given[name] = value end
    return given
  end

  it("have their defaults filled in", function()
    local got, own = producer.open(with())
    assert.same({ kafka = { { "bootstrap.servers", "b" } }, topics = {}, has_log = false,
      has_oauth = false, partitioner = "murmur2_random", has_on_delivery = false,
      max_queued_records = 100000, max_queued_bytes = 67108864 }, got)
    assert.same({}, own)
  end)

  it("keep functions on the Lua side", function()
    local f = function() end
    local got, own = producer.open(with { partitioner = f, partition_key = f,
      on_delivery = f })
    assert.equal("lua", got.partitioner)
    assert.is_true(got.has_on_delivery)
    assert.same({ partitioner = f, partition_key = f, on_delivery = f }, own)
  end)

  refuses(producer.open, {
    { {}, "option 'kafka': required" },
    { with { kafka = {} }, "option 'kafka': 'bootstrap.servers' is required" },
    { with { partitioner = "murmur" }, "option 'partitioner': 'murmur' is not one of its names" },
    { with { partitioner = 1 }, "option 'partitioner': one of murmur2_random" },
    { with { topics = { "^a" } }, "option 'topics[1]': '^a' is no name of a topic" },
    { with { group = 1 }, "unknown option 'group'" },
    { with { transactional_id = "" }, "option 'transactional_id': string expected, got an empty one" },
    { with { transactional_id = ("x"):rep(70000) },
      "option 'transactional_id': 70000 bytes; Kafka's names have 32750 at most" },
    { with { transactional_id = "t", transaction_timeout = 0.5 },
      "option 'transaction_timeout': seconds from 1 to 86400 expected, got 0.5" },
    { with { transaction_timeout = 5 }, "option 'transaction_timeout': only with 'transactional_id'" },
    { with { transactional = "t" }, "(did you mean 'transactional_id'?)" },
    { with { kafka = { ["bootstrap.servers"] = "b", ["transactional.id"] = "t" } },
      "not to be set: the option 'transactional_id' is for that" },
    { with { max_queued_records = 0 }, "option 'max_queued_records': whole number from 1" },
  })
end)

describe("the options of a mock cluster", function()
  it("have their defaults filled in", function()
    assert.same({ brokers = 3, topics = {}, has_log = false }, (mock.open()))
    assert.same({ brokers = 1, has_log = false, topics = { { topic = "a", partitions = 2 },
      { topic = "b", partitions = 1 } } }, (mock.open { brokers = 1, topics = { b = 1, a = 2 } }))
  end)

  refuses(mock.open, {
    { { brokers = 17 }, "option 'brokers': whole number from 1 to 16 expected, got 17" },
    { { topics = { a = 0 } }, "option 'topics[\"a\"].partitions': whole number from 1 to 10000" },
    { { topics = { "a" } }, "option 'topics[1]': name of a topic expected, got 1" },
    { { log = true }, "option 'log': function, or false: none expected, got true" },
  })
end)

describe("the options of an admin", function()
  local servers = { ["bootstrap.servers"] = "b" }

  it("keep functions on the Lua side", function()
    local f = function() end
    assert.same({ kafka = { { "bootstrap.servers", "b" } }, has_oauth = false, has_log = false },
      (admin.open { kafka = servers }))
    local got, own = admin.open { kafka = servers, log = f, oauth_token = f }
    assert.is_true(got.has_log and got.has_oauth)
    assert.same({ log = f, oauth_token = f }, own)
  end)

  refuses(admin.open, {
    { { kafka = servers, log = "stderr" }, "option 'log': function, or false: none expected, got" },
    { { kafka = servers, oauth_token = "t" }, "option 'oauth_token': function expected, got" },
  })

  it("want an oauth_token where nobody else has tokens", function()
    local function sasl(name, value)
      return { kafka = { ["bootstrap.servers"] = "b", ["sasl.mechanism"] = "OAUTHBEARER",
        [name] = value } }
    end
    assert.error_matches(function() admin.open(sasl("client.id", "c")) end,
      "option 'oauth_token': required with 'sasl.mechanism' OAUTHBEARER", 1, true)
    admin.open(sasl("sasl.oauthbearer.method", "oidc"))
    admin.open(sasl("enable.sasl.oauthbearer.unsecure.jwt", true))
  end)
end)

describe("the arguments of methods", function()
  it("have their defaults filled in", function()
    assert.same({ mode = "finish", timeout = 30 }, methods.close())
    assert.same({ every = 1, close = { mode = "finish", timeout = 30 } }, methods.run())
    assert.same({ every = 1, close = { mode = "drain", timeout = 30 } },
      methods.run { close = { mode = "drain" } })
    assert.equal(30, methods.commit())
    assert.is_nil(methods.step())
    assert.equal(100, methods.blockers())
    assert.same({}, { methods.pause() })
    assert.same({ "orders", 3 }, { methods.pause { topic = "orders", partition = 3 } })
  end)

  it("tell the four ways to seek apart", function()
    for _, case in ipairs {
      { { offset = 7 }, "offset", 7 }, { { time = 1.5 }, "time", 1.5 },
      { { offset = "earliest" }, "earliest" }, { { offset = "latest" }, "latest" },
    } do
      local given, kind, value = unpack(case, 1, 3)
      given.topic, given.partition = "orders", 0
      local got = methods.seek(given)
      assert.same({ kind, value }, { got.kind, got.value })
    end
  end)

  it("of resolve name a record by its fields or its id", function()
    local wanted = { topic = "a.b-c", partition = 3, offset = 12, what = "discard", timeout = 30 }
    assert.same(wanted, methods.resolve({ topic = "a.b-c", partition = 3, offset = 12, key = "k" },
      "discard"))
    assert.same(wanted, methods.resolve("a.b-c/3/12", "discard"))
    assert.equal(1, methods.resolve("a.b-c/3/12", "retry", 1).timeout)
  end)

  it("of send carry headers in their order, or in that of the names", function()
    local function headers(given)
      return producer.send({ topic = "t", headers = given }).headers
    end
    assert.same({ "b", "1", "a", false, "b", "" }, headers { { "b", "1" }, { "a" }, { "b", "" } })
    assert.same({ "a", "1", "b", "2" }, headers { b = "2", a = "1" })
    assert.same({ "", "1", "", false }, headers { { "", "1" }, { "" } })
    assert.same({ "", "1" }, headers { [""] = "1" })
    assert.same({}, headers {})
  end)

  local cases = {
    { methods.close, { mode = "fast" }, "option 'mode': 'fast' is not one of its names" },
    { methods.close, { timeout = -1 }, "option 'timeout': seconds from 0 to 86400 expected, got -1" },
    { methods.close, 3, "options: table expected, got 3" },
    { methods.commit, "soon", "argument 'timeout': seconds from 0 to 86400 expected, got a string" },
    { methods.step, 0 / 0, "argument 'timeout': seconds from 0 to 86400 expected, got nan" },
    { methods.run, { tick = 1 }, "option 'tick': function expected, got 1" },
    { methods.run, { close = { mode = "soon" } }, "option 'close.mode': 'soon' is not one of" },
    { methods.run, { close = 5 }, "option 'close': table expected, got 5" },
    { methods.run, { evry = 1 }, "unknown option 'evry' (did you mean 'every'?)" },
    { methods.pause, { partition = 1 }, "option 'topic': required" },
    { methods.pause, { topic = "a b" }, "'a b' is no name of a topic" },
    { methods.seek, { topic = "a" }, "option 'partition': required" },
    { methods.seek, { topic = "a", partition = 0 }, "either 'offset' or 'time' expected" },
    { methods.seek, { topic = "a", partition = 0, offset = 1, time = 1 }, "either 'offset' or 'time'" },
    { methods.seek, { topic = "a", partition = 0, offset = "end" }, "option 'offset': offset, 'earl" },
    { methods.seek, { topic = "a", partition = 0, offset = -1 }, "option 'offset': whole number" },
    { methods.resolve, nil, "argument 'record': a record, { topic, partition, offset } or its id "
      .. "expected, got nil" },
    { methods.resolve, "orders/7", "argument 'record': a record, { topic, partition, offset } or its "
      .. "id expected, got a string that is no id" },
    { methods.resolve, { topic = "t", offset = 1 }, "argument 'record.partition': required" },
    { methods.resolve, "t/0/1", "argument 'what': required, one of retry, discard, dead_letter" },
    { methods.blockers, 0, "argument 'n': whole number from 1 to 100000 expected, got 0" },
    { producer.send, "orders", "argument 'record': table expected, got a string" },
    { producer.send_wait, nil, "argument 'record': table expected, got nil" },
    { producer.produce, 5, "argument 'record': table expected, got 5" },
    { producer.send_batch, { { topic = "t" }, 5 }, "argument 'records[2]': table expected, got 5" },
    { producer.send, { key = "k" }, "option 'topic': required, name of a topic expected" },
    { producer.send, { topic = "t", key = 5 }, "option 'key': string expected, got 5" },
    { producer.send, { topic = "t", value = {} }, "option 'value': string expected, got a table" },
    { producer.send, { topic = "t", timeout = -1 }, "option 'timeout': seconds from 0" },
    { producer.send, { topic = "t", partition = -1 }, "option 'partition': whole number from 0" },
    { producer.send, { topic = "t", timestamp = -1 }, "option 'timestamp': seconds from 0.001" },
    { producer.send, { topic = "t", timestamp = 0 }, "option 'timestamp': seconds from 0.001 to" },
    { producer.send_wait, { topic = "t", timestamp = 0 }, "option 'timestamp': seconds from 0.001" },
    { producer.send, { topic = "t", headers = "h" }, "option 'headers': table from name to value" },
    { producer.send, { topic = "t", headers = { a = 1 } },
      "option 'headers[\"a\"]': string expected, got 1" },
    { producer.send, { topic = "t", headers = { { 1, "x" } } },
      "option 'headers[1]': name of a header expected, got 1" },
    { producer.send, { topic = "t", headers = { { "a\0", "x" } } },
      "option 'headers[1]': a zero byte inside the name" },
    { producer.send, { topic = "t", headers = { ["a\0b"] = "x" } }, "a zero byte inside the name" },
    { producer.send, { topic = "t", headers = { { "a", "1" }, b = "2" } },
      "option 'headers': a list of { name, value } without holes, or a table" },
    { producer.send, { topic = "t", headers = { { "a", "1" }, nil, { "c", "3" } } },
      "option 'headers': a list of { name, value } without holes" },
    { producer.send, { topic = "t", headers = { { "a", "1", "2" } } },
      "option 'headers[1]': { name, value } expected, got more" },
    { producer.send, { topic = "t", headers = { { "a", "1", b = "2" } } },
      "option 'headers[1]': { name, value } expected, got more" },
    { producer.send, { topic = "t", headers = { { "a", nil, "1" } } },
      "option 'headers[1]': { name, value } expected, got more" },
    { producer.send, { topic = "t", headers = { { name = "a", value = "1" } } },
      "option 'headers[1]': { name, value } expected, got more" },
    { producer.send, { topic = "t", headers = { "x" } },
      "option 'headers[1]': { name, value } expected, got a string" },
    { producer.send_wait, { topic = "t", timeout = -1 }, "option 'timeout': seconds from 0" },
    { admin.create_topics, { a = { partitions = 0 } },
      "argument 'topics[\"a\"].partitions': whole number from 1 to 10000 expected, got 0" },
    { admin.create_topics, nil, "argument 'topics': required" },
    { function() admin.create_topics({ a = 1 }, -1) end, nil, "argument 'timeout': seconds from 0" },
    { function() admin.group_offsets("", {}) end, nil, "argument 'group': string expected, got an" },
    { function() admin.group_offsets("g", {}) end, nil, "argument 'topics': list of topic names" },
    { admin.delete_topics, {}, "argument 'topics': list of topic names expected, got an empty one" },
    { admin.create_partitions, { a = 0 },
      "argument 'topics[\"a\"].partitions': whole number from 1 to 10000 expected, got 0" },
    { admin.create_partitions, { a = { partitions = 3 } },
      "argument 'topics[\"a\"].partitions': whole number from 1 to 10000 expected, got a table" },
    { admin.describe, { topic = "t" }, "unknown option 'topic' (did you mean 'topics'?)" },
    { admin.describe, { brokers = {} }, "option 'brokers': list of brokers' numbers expected, got" },
    { admin.describe, { brokers = { 1, 1 } }, "option 'brokers[2]': it stands there twice" },
    { admin.alter_config, { set = { a = 1 } }, "option 'topic': either 'topic' or 'broker' expected" },
    { admin.alter_config, { topic = "t", broker = 1, set = { a = 1 } },
      "option 'topic': either 'topic' or 'broker' expected" },
    { admin.alter_config, { topic = "t" }, "option 'set': something to 'set' or to 'unset' expected" },
    { admin.alter_config, { topic = "t", set = { a = 1 }, unset = { "a" } },
      "option 'unset[1]': 'a' is set too" },
    { admin.alter_config, { topic = "t", set = { a = {} } },
      "option 'set[\"a\"]': string, number or boolean expected, got a table" },
    { admin.groups, "g", "argument 'groups': list of groups expected, got a string" },
    { admin.groups, { "g", "" }, "argument 'groups[2]': string expected, got an empty one" },
    { admin.list_offsets, { offset = "latest" }, "option 'topics': required, list of topic names" },
    { admin.list_offsets, { topics = { "t" } }, "option 'offset': either 'offset' or 'time'" },
    { admin.list_offsets, { topics = { "t" }, offset = 1 }, "option 'offset': one of earliest, latest" },
    { admin.list_offsets, { topics = { "t" }, offset = "lastest" },
      "option 'offset': 'lastest' is not one of its names (earliest, latest)" },
    { admin.list_offsets, { topics = { "t", "u" }, partition = 0, offset = "latest" },
      "option 'partition': with one topic only" },
    { function() admin.reset_offsets("g", { topics = { "t" }, offset = 1, time = 1 }) end, nil,
      "option 'offset': either 'offset' or 'time' expected" },
    { function() admin.reset_offsets("g", { topics = { "t" }, offset = -1 }) end, nil,
      "option 'offset': whole number from 0" },
    { function() admin.reset_offsets("g") end, nil, "options: table expected, got nil" },
    { function() admin.reset_offsets(nil, { topics = { "t" }, offset = 1 }) end, nil,
      "argument 'group': required, string expected" },
    { function() admin.reset_offsets("g", { { topic = "t", partition = 0 } }) end, nil,
      "argument 'places[1].offset': required, whole number from 0" },
    { admin.delete_records, {}, "argument 'places': list of { topic, partition, offset } expected" },
    { admin.delete_records, { { topic = "t", partition = 0, offset = 1, befor = 1 } },
      "unknown argument 'places[1].befor' (did you mean 'places[1].before'?)" },
    { admin.delete_records, { { topic = "t", partition = 0, offset = 1 },
      { topic = "t", partition = 0, offset = 2 } }, "argument 'places[2]': 't/0' stands there twice" },
    { function() admin.delete_group_offsets("g") end, nil, "argument 'topics': required, list of" },
    { admin.read, "orders", "argument 'what': a table, or the id of a record, expected" },
    { admin.read, { topic = "t", partition = 0 }, "option 'offset': either 'offset' or 'time'" },
    { admin.read, { topic = "t", partition = 0, offset = 0, records = 0 },
      "option 'records': whole number from 1 to 100000 expected, got 0" },
    { admin.read, "t/0/1e3", "argument 'what': a table, or the id of a record, expected" },
    { function() mock.create_topic("t", 10001) end, nil,
      "argument 'partitions': whole number from 1 to 10000 expected, got 10001" },
    { function() mock.create_topic("t") end, nil, "argument 'partitions': required, whole number" },
    { function() mock.rtt(17, 1) end, nil, "argument 'broker': whole number from 1 to 16 expected" },
    { function() mock.rtt(nil, -1) end, nil, "argument 'seconds': seconds from 0 to 86400 expected" },
    { function() mock.fail("Fetch", nil) end, nil, "argument 'code': required, string expected" },
    { function() mock.fail("Fetch", "X", 0) end, nil, "argument 'count': whole number from 1 to" },
    { function() mock.leader("t", -1) end, nil, "argument 'partition': whole number from 0" },
    { function() mock.leader(nil, 0) end, nil, "argument 'topic': required, name of a topic" },
    { function() mock.coordinator("g") end, nil, "argument 'broker': required, whole number" },
  }
  for _, case in ipairs(cases) do
    it("raise when they are wrong: " .. case[3], function()
      assert.matches(case[3], message_of(case[1], case[2]), 1, true)
    end)
  end

  it("of the admin take answers of its own, and ids of records", function()
    local places = { { topic = "t", partition = 1, offset = 7, at_end = true },
      { topic = "t", partition = 0, offset = 3, metadata = "abc", before = 9 } }
    local plain = { { topic = "t", partition = 1, offset = 7 },
      { topic = "t", partition = 0, offset = 3 } }
    assert.same(plain, (admin.delete_records(places)))
    assert.same({ places = plain }, (select(2, admin.reset_offsets("g", places))))
    local read = admin.read "orders/3/17"
    assert.same({ "orders", 3, "offset", 17, 1 },
      { read.topic, read.partition, read.kind, read.value, read.records })
    local what = admin.alter_config { broker = 3, unset = { "a" } }
    assert.same({ "broker", "3" }, { what.kind, what.name })
  end)

  it("of create_topics are a list with the topics' own settings", function()
    assert.same({
      { topic = "a", partitions = 3, replication = 2, config = { { "retention.ms", "1000" } } },
      { topic = "b", partitions = 11 },
    }, (admin.create_topics {
      b = 11, a = { partitions = 3, replication = 2, config = { ["retention.ms"] = 1000 } },
    }))
  end)
end)

describe("the manual", function()
  it("has the option tables as 'scripts/manual' writes them", function()
    local text = helper.read "docs/options.md"
    local inside = text:match "<!%-%- options:begin %-%->\n(.-)<!%-%- options:end %-%->"
    assert.equal(manual(), inside)
  end)

  it("has the defaults of the ten options that README tells of", function()
    local rows, count = manual():match "## strand.consumer\n(.-)\n## ", 0
    for name, default in helper.read("README.md"):match("\n## Options\n(.-)\n## ")
      :gmatch "\n| `([%w_]+)` |([^|]*)|" do
      assert.equal(rows:match("\n| `" .. name .. "` |[^|]*|([^|]*)|"), default, name)
      count = count + 1
    end
    assert.equal(10, count)
  end)
end)

describe("the version", function()
  it("is a release number", function()
    assert.matches("^%d+%.%d+%.%d+$", require "strand.version")
  end)
end)
