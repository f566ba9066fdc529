-- Records for a partition that is not there: they wait for it within bounds,
-- hold up nobody else, and end with what is known. On a real broker partitions
-- are added too: spec/kafka/placement_spec.lua.
local core = require "strand.core"
local helper = require "spec.support.helper"
local strand = require "strand"

local LONG = 20000 -- ms for which a partition is waited for

local function open(options)
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = helper.bootstrap()
  options.kafka["topic.metadata.propagation.max.ms"] =
    options.kafka["topic.metadata.propagation.max.ms"] or LONG
  return assert(strand.producer(options))
end

describe("a record for a partition that its topic has not", function()
  local producer, topic, reports

  local function start(options)
    reports = {}
    options.on_delivery = function(report) reports[#reports + 1] = report end
    producer = open(options)
    topic = helper.topic(2)
    assert(producer:send_wait { topic = topic, partition = 0, timeout = 20 })
  end

  local function serve(limit, count)
    helper.eventually(limit, function()
      if core.wait({ producer:fd() }, 0.1) then producer:poll(0) end
      return #reports >= count
    end)
  end

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("is queued, waits and fails; what comes after it does not wait", function()
    start { kafka = { ["topic.metadata.propagation.max.ms"] = 1500 } }
    assert.is_true(producer:send { topic = topic, key = "there not", partition = 2 })
    assert.is_true(producer:send { topic = topic, key = "there", partition = 1 })
    local now = producer:stats()
    assert.equal(3, now.delivered + now.failed + now.outstanding)
    serve(20, 2)
    assert.equal("there", reports[1].key)
    assert.is_nil(reports[1].error)
    assert.same({ "there not", "UNKNOWN_PARTITION", 2 },
      { reports[2].key, reports[2].code, reports[2].partition })
    assert.matches("the topic has 2 partitions", reports[2].error, 1, true)
    local stats = producer:stats()
    assert.same({ 3, 2, 1, 0 }, { stats.sent, stats.delivered, stats.failed, stats.outstanding })
  end)

  it("is waited for within the time of send_wait, not longer", function()
    start {}
    local seconds, report, message, code = helper.seconds(function()
      return producer:send_wait { topic = topic, partition = 7, timeout = 1 }
    end)
    assert.same({ nil, "UNKNOWN_PARTITION" }, { report, code })
    assert.matches("the topic has 2 partitions", message, 1, true)
    assert.is_true(seconds >= 1 and seconds < 2 + helper.late)
    local stats = producer:stats()
    assert.same({ 1, 0 }, { stats.failed, stats.outstanding })
  end)

  it("ends within message.timeout.ms when that is less", function()
    start { kafka = { ["message.timeout.ms"] = 1000 } }
    assert.is_true(producer:send { topic = topic, partition = 2 })
    local seconds = helper.seconds(serve, 20, 1)
    assert.is_true(seconds >= 0.9 and seconds < 3 + helper.late)
    assert.equal("UNKNOWN_PARTITION", reports[1].code)
  end)

  it("counts in max_queued_records, for all that are sent", function()
    start { max_queued_records = 3 }
    for _ = 1, 3 do assert.is_true(producer:send { topic = topic, partition = 2 }) end
    for partition = 1, 2 do
      local ok, message, code = producer:send { topic = topic, partition = partition }
      assert.same({ nil, "QUEUE_FULL" }, { ok, code })
      assert.matches("max_queued_records 3,", message, 1, true)
    end
    assert.equal(4, producer:stats().sent)
  end)

  it("counts in max_queued_bytes", function()
    start { max_queued_bytes = 4096 }
    for _ = 1, 4 do
      assert.is_true(producer:send { topic = topic, partition = 2, value = ("v"):rep(1000) })
    end
    local ok, _, code = producer:send { topic = topic, partition = 2, value = ("v"):rep(1000) }
    assert.same({ nil, "QUEUE_FULL" }, { ok, code })
  end)

  it("shares max_queued_bytes with what is sent, to the byte", function()
    start { max_queued_bytes = 2048 }
    helper.mock():down(1) -- so that each stays in the queue
    assert.is_true(producer:send { topic = topic, partition = 2, value = ("v"):rep(1000) })
    assert.is_true(producer:send { topic = topic, partition = 1, value = ("v"):rep(1047) })
    local _, _, code = producer:send { topic = topic, partition = 1, value = "22" }
    assert.equal("QUEUE_FULL", code)
    assert.is_true(producer:send { topic = topic, partition = 2, value = "2" })
    assert.equal(3, producer:stats().outstanding)
    helper.mock():up(1)
  end)

  it("ends by its own time, whichever way it was sent, and was certainly not written", function()
    start {}
    local slow = assert(producer:send_async { topic = topic, partition = 2, timeout = 1 })
    local quick = assert(producer:send_async { topic = topic, partition = 2, timeout = 0.5 })
    assert.equal(2, producer:send_batch {
      { topic = topic, key = "batch", partition = 2, timeout = 0.7 },
      { topic = topic, key = "there", partition = 1, timeout = 20 } })
    local seconds, report = helper.seconds(quick.wait, quick, 20)
    assert.is_true(seconds >= 0.4 and seconds < 1 + helper.late)
    assert.same({ "UNKNOWN_PARTITION", true }, { report.code, report.certain })
    assert.matches("the topic has 2 partitions", report.error, 1, true)
    assert.is_true(report.latency >= 0.4)
    report = assert(slow:wait(20))
    assert.same({ "UNKNOWN_PARTITION", true }, { report.code, report.certain })
    serve(20, 2)
    local codes = {}
    for _, one in ipairs(reports) do codes[one.key or ""] = one.code or "ok" end
    assert.same({ batch = "UNKNOWN_PARTITION", there = "ok" }, codes)
    local stats = producer:stats()
    assert.same({ 0, 0, 0, 3 }, { stats.overdue, stats.late, stats.outstanding, stats.failed })
  end)

  it("is TIMED_OUT where nobody has answered, and certainly not written", function()
    topic = helper.topic(2)
    producer = open { topics = { topic }, partitioner = function() return 0 end }
    helper.eventually(10, function() return producer.core:partitions(topic) end)
    helper.mock():down(1) -- and no question is out
    local delivery = assert(producer:send_async { topic = topic, partition = 2, timeout = 0.5 })
    local report = assert(delivery:wait(20))
    helper.mock():up(1)
    assert.same({ "TIMED_OUT", true }, { report.code, report.certain })
    assert.matches("not sent within its timeout (the topic has 2 partitions)", report.error, 1, true)
    local stats = producer:stats()
    assert.same({ 0, 0, 1 }, { stats.overdue, stats.outstanding, stats.failed })
  end)

  it("is given up by a close, and reported", function()
    start {}
    for _ = 1, 3 do assert.is_true(producer:send { topic = topic, partition = 2 }) end
    local seconds, report = helper.seconds(producer.close, producer, { timeout = 0.2 })
    assert.same({ 1, 3, 0 }, { report.delivered, report.purged, report.failed })
    assert.is_true(seconds < 1.2 + helper.late)
    assert.equal(3, #reports)
    for _, one in ipairs(reports) do
      assert.same({ "PURGE_QUEUE", true }, { one.code, one.certain })
    end
  end)

  it("does not keep a flush from saying how many are left", function()
    start {}
    assert.is_true(producer:send { topic = topic, partition = 2 })
    local ok, _, code, left = producer:flush(0.2)
    assert.same({ nil, "TIMED_OUT", 1 }, { ok, code, left })
  end)
end)
