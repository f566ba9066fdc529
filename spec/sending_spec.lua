-- How records are sent, one, many, or waited for: a record that is wrong is
-- never half sent, and each that is accepted is acknowledged or has failed,
-- once. What a producer promises besides: spec/producer_spec.lua.
local check = require "strand.options.producer"
local core = require "strand.core"
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local producers = require "spec.support.producers"

local quiet = producers.quiet
local open, unreachable = producers.open, producers.unreachable

-- The words of an error, without its place.
local function words(f, ...)
  local ok, problem = pcall(f, ...)
  assert.is_false(ok)
  return (problem:gsub("^[^ ]*:%d+: ", ""))
end

local function counted(producer)
  local stats = producer:stats()
  assert.equal(stats.sent, stats.delivered + stats.failed + stats.purged + stats.outstanding)
  return stats
end

-- C reads nearly all of them, and Lua those with a metatable.
local function for_lua(record)
  local copy = {}
  for name, value in pairs(record) do copy[name] = value end
  return setmetatable(copy, {})
end

local seventeen = {}
for i = 1, 17 do seventeen[i] = { "h", tostring(i) } end

describe("the record that is sent", function()
  local producer

  setup(fixture.open)
  teardown(fixture.close)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  local RECORDS = {
    {}, { value = "" }, { key = "", value = "v" }, { key = "\0\1", value = "\0" },
    { headers = {} }, { headers = { type = "a", ["z"] = "1", b = "", [""] = "none", ["\195\164"] = "x" } },
    { headers = { { "a", "1" }, { "b" }, { "a", "" }, { "", "\0" } } },
    { headers = seventeen }, { timestamp = 1.5 }, { timestamp = 1234567890.1234 },
    { partition_key = "p" }, { value = "in time", timeout = 60 },
  }

  it("is the same whether C reads the table or Lua does", function()
    local topic = helper.topic(1)
    producer = open()
    for _, record in ipairs(RECORDS) do
      record.topic, record.partition = topic, 0
      assert.is_true(producer:send(record))
      assert.is_true(producer:send(for_lua(record)))
    end
    assert(producer:flush(20))
    local consumer = fixture.start(fixture.consumer { topics = { topic }, ordering = "partition",
      parked_holds = "record", handler = function(_, context) return context:park() end })
    helper.eventually(30, function() return consumer:stats().parked == 2 * #RECORDS end, consumer)
    local found = {}
    for record in consumer:parked() do found[record.offset + 1] = record end
    for i, sent in ipairs(RECORDS) do
      local plain, other = found[2 * i - 1], found[2 * i]
      assert.same({ plain.key, plain.value, plain.headers }, { other.key, other.value, other.headers })
      assert.same({ sent.key, sent.value }, { plain.key, plain.value })
      if sent.timestamp then assert.equal(plain.timestamp, other.timestamp) end
    end
    assert.same({ { "", "none" }, { "b", "" }, { "type", "a" }, { "z", "1" }, { "\195\164", "x" } },
      found[11].headers)
  end)

  local function wrong(field, value)
    local record = { topic = "t", key = "k", value = "v" }
    record[field] = value
    return record
  end
  local WRONG = {
    false, "t", {}, { key = "k" }, wrong("topc", "x"), wrong("valu", "x"), wrong(1, "x"),
    wrong("topic", ""), wrong("topic", "."), wrong("topic", ".."), wrong("topic", "a b"),
    wrong("topic", "a\0"), wrong("topic", ("t"):rep(250)), wrong("topic", 7), wrong("topic", "\195\164"),
    wrong("key", 5), wrong("key", {}), wrong("value", true), wrong("value", 1.5), wrong("value", {}),
    wrong("partition", -1), wrong("partition", 0.5), wrong("partition", "0"), wrong("partition", 2 ^ 31),
    wrong("partition", 0 / 0), wrong("timestamp", 0), wrong("timestamp", 1e13), wrong("timestamp", 0 / 0),
    wrong("timeout", -1), wrong("timeout", 86401), wrong("timeout", "1"), wrong("timeout", 0 / 0),
    wrong("partition_key", 7), wrong("headers", "h"), wrong("headers", { a = 1 }),
    wrong("headers", { { "a\0", "x" } }), wrong("headers", { ["a\0"] = "x" }), wrong("headers", { { 1, "x" } }),
    wrong("headers", { { "a", "1", "2" } }), wrong("headers", { { "a", nil, "1" } }),
    wrong("headers", { { "a", "1" }, nil, { "c" } }), wrong("headers", { { "a", "1" }, b = "2" }),
    wrong("headers", { { "a", false } }), wrong("headers", { a = false }), wrong("headers", { "x" }),
  }

  it("is refused in the words of its check, and not sent, when it is wrong", function()
    producer = unreachable()
    for i, record in ipairs(WRONG) do
      local expected = words(check.send, record)
      assert.equal(expected, words(producer.send, producer, record), i)
      assert.equal(expected, words(producer.send_async, producer, record), i)
      local label = (expected:gsub("option '", "argument 'records[2]."))
      label = label:gsub("did you mean '", "did you mean 'records[2].")
      label = label:gsub("^argument 'record':", "argument 'records[2]':")
      assert.equal(label, words(producer.send_batch, producer, { { topic = "t" }, record, { topic = "t" } }), i)
    end
    assert.equal(0, producer:stats().sent)
  end)

  it("says how a number becomes what can be sent", function()
    producer = unreachable()
    assert.equal("option 'value': string expected, got 5; tostring() makes one",
      words(producer.send, producer, { topic = "t", value = 5 }))
    assert.equal("option 'headers[\"h\"]': string expected, got true; tostring() makes one",
      words(producer.send, producer, { topic = "t", headers = { h = true } }))
  end)

  it("may have its fields from a metatable, as any table", function()
    producer = open()
    local topic = helper.topic(1)
    local report = assert(producer:send_wait(setmetatable({ key = "k" }, { __index = { topic = topic } })))
    assert.equal(topic, report.topic)
    assert.is_true(producer:send(setmetatable({}, { __index = { topic = topic } })))
  end)

  it("raises where it is called without a colon, or on something else", function()
    producer = unreachable()
    for _, name in ipairs { "send", "send_batch", "send_async" } do
      assert.equal(("producer:%s() is a method: call it with a colon"):format(name),
        words(producer[name], { topic = "t" }))
      assert.has_error(function() producer[name]({ plain = io.stdout }, { topic = "t" }) end)
    end
  end)
end)

describe("a batch", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("is sent in its order", function()
    local topic, values = helper.topic(1), {}
    producer = open { on_delivery = function(report) values[report.offset + 1] = report.key end }
    local list = {}
    for i = 1, 50 do list[i] = { topic = topic, key = tostring(i), partition = 0 } end
    list[7] = for_lua(list[7])
    assert.equal(50, producer:send_batch(list))
    list[7] = { topic = topic, key = "7", partition = 0 }
    assert.equal(50, producer:send_batch(list))
    assert.equal(0, producer:send_batch {})
    assert(producer:flush(20))
    for i = 1, 100 do assert.equal(tostring((i - 1) % 50 + 1), values[i]) end
  end)

  it("stops at the first record that has no room, and says how many are sent", function()
    producer = unreachable { max_queued_records = 3 }
    local list = {}
    for i = 1, 5 do list[i] = { topic = "t", key = tostring(i) } end
    for _, of in ipairs { function(r) return r end, for_lua } do
      list[1] = of(list[1])
      local n, message, code = producer:send_batch(list)
      assert.same({ n == 3 and 3 or 0, "QUEUE_FULL" }, { n, code })
      assert.matches("max_queued_records 3,", message, 1, true)
      assert.equal(3, producer:stats().sent)
    end
  end)

  it("raises for what is no list", function()
    producer = unreachable()
    local record = { topic = "t" }
    for _, given in ipairs { false, "x", { record, n = 1 }, record, { [2] = record } } do
      assert.matches("argument 'records': list of records expected",
        words(producer.send_batch, producer, given), 1, true)
    end
    assert.equal(0, producer:stats().sent)
  end)

  it("asks partition_key and partitioner for all before it sends one", function()
    local topic, asked = helper.topic(4), {}
    producer = open { topics = { topic }, partition_key = function(event) return event.order end,
      partitioner = function(key)
        asked[#asked + 1] = key
        return tonumber(key)
      end }
    local function record(order) return { topic = topic, order = order } end
    assert.matches("argument 'records[2]': partitioner returned 4,",
      words(producer.send_batch, producer, { record "1", record "4" }), 1, true)
    assert.matches("argument 'records[2]': partition_key returned 5,",
      words(producer.send_batch, producer, { record "1", record(5) }), 1, true)
    asked[3] = nil
    assert.equal(0, producer:stats().sent)
    assert.equal(3, producer:send_batch { record "3", record "0", record "2" })
    assert.same({ "1", "4", "3", "0", "2" }, asked)
    assert(producer:flush(20))
  end)

  it("sends what comes before a record that has no place yet", function()
    local known, other = helper.topic(2), helper.topic(1)
    producer = open { topics = { known }, partitioner = function() return 0 end }
    helper.mock():down() -- nobody says how many partitions the other has
    local n, _, code = producer:send_batch { { topic = known }, { topic = other }, { topic = known } }
    helper.mock():up()
    assert.same({ 1, "NO_METADATA" }, { n, code })
    assert.equal(1, producer:stats().sent)
  end)
end)

describe("a delivery", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("has the report of its record, and nobody else has it", function()
    local others = {}
    producer = open { on_delivery = function(report) others[#others + 1] = report.key end }
    local topic, deliveries = helper.topic(1), {}
    for i = 1, 20 do
      deliveries[i] = assert(producer:send_async { topic = topic, key = tostring(i), partition = 0 })
      assert(producer:send { topic = topic, key = "other" .. i, partition = 0 })
    end
    for i = 20, 1, -1 do
      local report = assert(deliveries[i]:wait(20))
      assert.same({ tostring(i), 2 * i - 2 }, { report.key, report.offset })
      assert.is_true(report.latency > 0 and report.latency < 60)
      assert.is_nil(report.certain)
      assert.equal(report, deliveries[i]:done())
      assert.equal(report, deliveries[i]:wait(0))
      assert.matches("^strand.Delivery %(strand.DeliveryReport %(", tostring(deliveries[i]))
    end
    assert(producer:flush(20))
    assert.equal(20, #others)
  end)

  it("is done without a call that waits, and calls no callback by that", function()
    local calls, topic = 0, helper.topic(1)
    producer = open { on_delivery = function() calls = calls + 1 end }
    assert(producer:send { topic = topic, partition = 0 })
    local delivery = assert(producer:send_async { topic = topic, partition = 0 })
    helper.eventually(20, function() return delivery:done() end)
    assert.equal(1, delivery:done().offset)
    assert.equal(0, calls)
    assert.equal(1, core.wait({ producer:fd() }, 0)) -- for on_delivery
    producer:poll(0)
    assert.equal(1, calls)
  end)

  it("is done as often as one looks, and reports for on_delivery stay bounded by that", function()
    local called, topic = 0, helper.topic(1)
    producer = open { max_queued_records = 10, on_delivery = function() called = called + 1 end }
    local delivery = assert(producer:send_async { topic = topic, value = "x" })
    helper.eventually(20, function()
      producer:send { topic = topic, value = "y" }
      delivery:done()
      return producer:stats().undelivered_reports == 10
    end)
    assert.equal("QUEUE_FULL", (select(3, producer:send { topic = topic })))
    assert.equal(0, called)
    producer:poll()
    assert.equal(10, called)
    assert.is_true(producer:send { topic = topic })
  end)

  it("is waited for in a callback, and what came for the next one does not wake it", function()
    local turns, topic, report = 0, "t", nil
    local wait = core.wait
    finally(function() core.wait = wait end)
    producer = unreachable { on_delivery = function(first)
      if report or not first then return end
      wait({}, 0.2) -- the others are over as well
      local delivery = assert(producer:send_async { topic = topic, timeout = 0.5 })
      core.wait = function(...)
        turns = turns + 1
        return wait(...)
      end
      report = delivery:wait(20)
    end }
    for _ = 1, 3 do assert(producer:send { topic = topic, timeout = 0.05 }) end
    helper.eventually(20, function() return producer:poll(0.1) and report end)
    assert.equal("TIMED_OUT", report.code)
    assert.is_true(turns > 0 and turns < 20)
  end)

  it("can be waited for again when it did not come in time", function()
    producer = unreachable()
    local delivery = assert(producer:send_async { topic = "t" })
    assert.is_nil(delivery:done())
    for _ = 1, 2 do
      local seconds, report, message, code = helper.seconds(function() return delivery:wait(0.1) end)
      assert.same({ nil, "TIMED_OUT" }, { report, code })
      assert.matches("^no report within 0%.1 s", message)
      assert.is_true(seconds >= 0.1 and seconds < 1 + helper.late)
    end
    assert.equal(1, producer:stats().outstanding)
    assert.equal("strand.Delivery (no report yet)", tostring(delivery))
  end)

  it("does not linger while it is waited for", function()
    producer = open { kafka = { ["linger.ms"] = 60000 } }
    local delivery = assert(producer:send_async { topic = helper.topic(1), value = "v" })
    assert.is_nil(delivery:done())
    assert(delivery:wait(20))
  end)

  it("has its report when poll, flush, close or another wait was there first", function()
    local topic = helper.topic(1)
    producer = open()
    local function sent() return assert(producer:send_async { topic = topic, partition = 0 }) end
    local delivery = sent()
    assert(producer:flush(20))
    assert.equal(0, delivery:done().offset)
    delivery = sent()
    helper.eventually(20, function()
      producer:poll(0.1)
      return producer:stats().outstanding == 0
    end)
    assert.equal(1, delivery:done().offset)
    delivery = sent()
    assert(sent():wait(20))
    assert.equal(2, delivery:done().offset)
    delivery = sent()
    assert.equal(5, producer:close().delivered)
    assert.equal(4, delivery:done().offset)
    assert.equal(4, delivery:wait(0).offset)
  end)

  it("says whether a record that failed may have been written", function()
    producer = unreachable()
    local delivery = assert(producer:send_async { topic = "t", key = "k" })
    producer:close { timeout = 0 }
    local report = delivery:done()
    assert.same({ "PURGE_QUEUE", true, "k" }, { report.code, report.certain, report.key })
  end)

  it("that nobody has any more is counted, and its failure said", function()
    local lines = {}
    local topic = helper.topic(2)
    producer = open { log = function(_, _, line) lines[#lines + 1] = line end }
    assert(producer:send_async { topic = topic, key = "k", partition = 1 })
    assert(producer:send_async { topic = topic, key = "k", partition = 5 })
    collectgarbage()
    collectgarbage()
    assert(producer:flush(20))
    local stats = counted(producer)
    assert.same({ 1, 1 }, { stats.delivered, stats.failed })
    producer:poll(0)
    assert.equal(1, #lines)
    assert.matches("not_delivered .*UNKNOWN_PARTITION", lines[1])
    helper.eventually(10, function() -- another event may have come meanwhile
      producer:poll(0)
      return core.wait({ producer:fd() }, 0) == 0
    end)
    assert.equal(1, #lines)
  end)

  it("raises without a colon, and for what is no time", function()
    producer = unreachable()
    local delivery = assert(producer:send_async { topic = "t" })
    assert.equal("delivery:wait() is a method: call it with a colon", words(delivery.wait, 1))
    assert.matches("argument 'timeout': seconds from 0", words(delivery.wait, delivery, "1"), 1, true)
  end)

  it("is refused as send refuses", function()
    producer = unreachable { max_queued_records = 1 }
    local first = assert(producer:send_async { topic = "t" })
    assert.equal("QUEUE_FULL", select(3, producer:send_async { topic = "t" }))
    assert.equal("QUEUE_FULL", select(3, producer:send_async(for_lua { topic = "t" })))
    producer:close { timeout = 0 }
    assert.is_true(first:done().certain)
    assert.equal("attempt to use a closed producer", words(producer.send_async, producer, { topic = "t" }))
  end)
end)

describe("a record with a timeout", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("has failed at its end without a broker, by the fd alone", function()
    local reports = {}
    producer = unreachable { on_delivery = function(report) reports[#reports + 1] = report end }
    local fd, start = producer:fd(), core.now()
    assert.is_true(producer:send { topic = "t", key = "k", timeout = 0.3 })
    local delivery = assert(producer:send_async { topic = "t", timeout = 0.2 })
    local at = {}
    while #reports == 0 do
      assert.is_true(core.now() < start + 20)
      core.wait({ fd }, 20)
      producer:poll(0)
      if delivery:done() then at[1] = at[1] or core.now() - start end
    end
    at[2] = core.now() - start
    assert.is_true(at[1] >= 0.2 and at[2] >= 0.3)
    assert.is_true(at[1] < 0.2 + 0.25 + helper.late and at[2] < 0.3 + 0.25 + helper.late)
    for _, report in ipairs { reports[1], delivery:done() } do
      assert.same({ "TIMED_OUT", false, "t" }, { report.code, report.certain, report.topic })
    end
    assert.equal("k", reports[1].key)
    local stats = counted(producer)
    assert.same({ 2, 0, 2, 0 }, { stats.failed, stats.outstanding, stats.overdue, stats.late })
    assert.is_true(producer:flush(5)) -- nothing is left to wait for
    local report = producer:close { timeout = 0 }
    assert.same({ 2, 2, 0 }, { report.sent, report.failed, report.purged })
    stats = counted(producer)
    assert.same({ 2, 0, 2 }, { stats.failed, stats.overdue, stats.late })
    assert.equal(1, #reports)
  end)

  it("stays in the queue and its bound, and its late report changes no count", function()
    if helper.broker() then return end -- faults are the mock's
    local reports, mock = {}, helper.mock()
    producer = open { max_queued_records = 1, on_delivery = function(report) reports[#reports + 1] = report end,
      log = quiet, kafka = { ["linger.ms"] = 0, ["reconnect.backoff.max.ms"] = 100 } }
    local topic = helper.topic(1)
    assert(producer:send_wait { topic = topic, partition = 0 })
    assert(mock:down())
    assert(producer:send { topic = topic, partition = 0, value = "late", timeout = 0.1 })
    helper.eventually(20, function()
      producer:poll(0.1)
      return #reports == 1
    end)
    assert.same({ "TIMED_OUT", false }, { reports[1].code, reports[1].certain })
    assert.equal("QUEUE_FULL", select(3, producer:send { topic = topic, partition = 0 }))
    assert(mock:up())
    helper.eventually(60, function()
      producer:poll(0.1)
      return producer:stats().late == 1
    end)
    local stats = counted(producer)
    assert.same({ 1, 1, 0, 0 }, { stats.delivered, stats.failed, stats.overdue, stats.outstanding })
    assert.equal(1, #reports)
    assert.equal(2, assert(producer:send_wait { topic = topic, partition = 0 }).offset)
  end)

  it("is not timed out once it is acknowledged", function()
    producer = open()
    local delivery = assert(producer:send_async { topic = helper.topic(1), timeout = 20 })
    assert.is_nil(assert(delivery:wait(20)).error)
    assert.equal(0, counted(producer).failed)
  end)

  it("tells of its failure in the log where nobody takes reports", function()
    local lines = {}
    producer = unreachable { log = function(_, _, line) lines[#lines + 1] = line end }
    assert.equal(1, producer:send_batch { { topic = "t", key = "k", timeout = 0.05 } })
    helper.eventually(20, function()
      producer:poll(1)
      return table.concat(lines, "\n"):find('not_delivered t key "k": not acknowledged within its timeout', 1, true)
    end)
  end)

  it("is reported by send_wait, beside the message, which says why no broker answers", function()
    local down = false
    producer = unreachable { on_event = function(event) down = down or event.type == "unreachable" end }
    helper.eventually(20, function()
      producer:poll(1)
      return down
    end)
    local report, message, code, whole = producer:send_wait { topic = "t", key = "k", timeout = 0.1 }
    assert.same({ nil, "TIMED_OUT" }, { report, code })
    assert.matches("^not acknowledged within 0%.1 s; it may still be %(%S+: Connect to %S+ failed: "
      .. "Connection refused%)$", message)
    assert.matches(message:match "%(.*%)", whole.error, 1, true)
    assert.same({ false, "k" }, { whole.certain, whole.key })
    local stats = counted(producer)
    assert.same({ 1, 1, 0 }, { stats.failed, stats.overdue, stats.outstanding })
  end)
end)

describe("what keeps records from being acknowledged", function()
  local producer

  setup(fixture.open)
  teardown(fixture.close)
  after_each(function() producer:close { timeout = 0 } end)

  it("is named by who has waited for them, or for room, in vain", function()
    local down, cause = false, "%(%S+: Connect to %S+ failed: Connection refused%)$"
    producer = unreachable { max_queued_records = 1,
      on_event = function(event) down = down or event.type == "unreachable" end }
    local delivery = assert(producer:send_async { topic = "t", key = "k" })
    helper.eventually(20, function()
      producer:poll(1)
      return down
    end)
    local ok, message, code, left = producer:flush(0.1)
    assert.same({ nil, "TIMED_OUT", 1 }, { ok, code, left })
    assert.matches("^1 records not acknowledged within 0%.1 s " .. cause, message)
    ok, message, code = delivery:wait(0.1)
    assert.same({ nil, "TIMED_OUT" }, { ok, code })
    assert.matches("^no report within 0%.1 s " .. cause, message)
    ok, message, code = producer:send_wait { topic = "t", timeout = 0.1 }
    assert.same({ nil, "QUEUE_FULL" }, { ok, code })
    assert.matches("and was for 0%.1 s " .. cause, message)
  end)
end)

describe("configure of a producer", function()
  local producer

  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("changes its bounds while records are out", function()
    producer = unreachable { max_queued_records = 1 }
    assert(producer:send { topic = "t", value = "12345" })
    assert.equal("QUEUE_FULL", select(3, producer:send { topic = "t" }))
    assert.is_true(producer:configure { max_queued_records = 3 })
    assert(producer:send { topic = "t", value = "12345" })
    assert.is_true(producer:configure { max_queued_bytes = 1024 })
    assert.equal("QUEUE_FULL", select(3, producer:send { topic = "t", value = ("x"):rep(1020) }))
    assert(producer:send { topic = "t", value = ("x"):rep(1000) })
    local stats = producer:stats()
    assert.same({ 3, 1024 }, { stats.max_queued_records, stats.max_queued_bytes })
  end)

  it("raises for what does not change, and for a wrong value, and changes nothing", function()
    producer = unreachable { max_queued_records = 5 }
    assert.equal("option 'kafka': cannot be changed while the producer runs; what can be: "
      .. "max_queued_records, max_queued_bytes",
      words(producer.configure, producer, { kafka = {}, max_queued_records = 7 }))
    assert.matches("option 'max_queued_records': whole number from 1",
      words(producer.configure, producer, { max_queued_records = 0 }), 1, true)
    assert.matches("unknown option 'max_queued'", words(producer.configure, producer, { max_queued = 1 }), 1, true)
    assert.equal(5, producer:stats().max_queued_records)
  end)
end)
