-- A client that is at its end: librdkafka cannot say any more what is written,
-- and the producer goes on with another one. On the mock, whose answers say so.
if require "spec.support.helper".broker() then return end -- faults are the mock's

local core = require "strand.core"
local helper = require "spec.support.helper"
local strand = require "strand"

local LIMIT = 60
local CODE = "OUT_OF_ORDER_SEQUENCE_NUMBER"

describe("a producer whose client is at its end", function()
  local producer, topic, events, reports

  local function open(kafka)
    kafka = kafka or {}
    kafka["bootstrap.servers"] = helper.bootstrap()
    events, reports = {}, {}
    producer = assert(strand.producer { kafka = kafka, log = function() end,
      on_event = function(event) events[#events + 1] = event end,
      on_delivery = function(report) reports[#reports + 1] = report end })
    topic = helper.topic(1)
    assert(producer:send_wait { topic = topic, value = "first", timeout = LIMIT })
  end

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  -- The broker refuses what comes next as out of its sequence.
  local function desynchronize()
    assert(helper.mock():fail("Produce", CODE, 1))
  end

  local function told(type)
    local found = {}
    for _, event in ipairs(events) do
      if event.type == type then found[#found + 1] = event.code .. " " .. tostring(event.fatal) end
    end
    return found
  end

  it("fails what was not acknowledged, goes on, and says so", function()
    open()
    local before = helper.descriptors()
    for round = 1, 3 do
      desynchronize()
      local report, message, code, failed = producer:send_wait { topic = topic, key = "k",
        value = "lost", timeout = LIMIT }
      assert.same({ nil, CODE, false }, { report, code, failed.certain }) -- it may be written
      assert.matches(topic, message, 1, true)
      local next_one = assert(producer:send_wait { topic = topic, key = "k", value = "v",
        timeout = LIMIT })
      assert.equal(round, next_one.offset) -- and nothing was written twice
      assert.equal(round, #told "renewed")
    end
    assert.same({ CODE .. " false", CODE .. " false", CODE .. " false" }, told "renewed")
    assert.same({ CODE .. " false", CODE .. " false", CODE .. " false" }, told "error")
    helper.eventually(LIMIT, function() return helper.descriptors() <= before end)
    assert.equal(3, producer:stats().failed)
  end)

  it("is told of by fd alone", function()
    open()
    desynchronize()
    local sent = assert(producer:send_async { topic = topic, value = "lost" })
    helper.eventually(LIMIT, function()
      if core.wait({ producer:fd() }, 1) == 1 then producer:poll(0) end
      return #told "renewed" == 1
    end)
    assert.equal(CODE, sent:done().code)
    helper.eventually(LIMIT, function() -- and nothing is left to do
      producer:poll(0)
      return core.wait({ producer:fd() }, 0) == 0
    end)
  end)

  it("writes what is sent meanwhile after all that, in its order, each once", function()
    open { ["linger.ms"] = 0 }
    desynchronize()
    local sent = 0
    local function send()
      sent = sent + 1
      assert(producer:send { topic = topic, key = "k", value = tostring(sent) })
    end
    while #told "renewed" == 0 do
      send()
      if sent % 10 == 0 then producer:poll(0) end
      assert.is_true(sent < 90000)
    end
    for _ = 1, 10 do send() end
    assert(producer:flush(LIMIT))
    assert.equal(sent, #reports)
    local failed, last = 0, 0
    for _, report in ipairs(reports) do
      if report.error then failed = failed + 1
      else
        assert.is_true(report.offset > last)
        last = report.offset
      end
    end
    assert.is_true(failed > 0 and failed < sent)
    assert.equal(sent - failed, last) -- 'first' is 0: nothing was repeated
  end)

  it("is at its end where the next one would end the same way, and says so", function()
    open()
    producer:close()
    assert(helper.mock():fail("InitProducerId", "CLUSTER_AUTHORIZATION_FAILED", 1))
    events, reports = {}, {}
    producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() },
      log = function() end, on_event = function(event) events[#events + 1] = event end,
      on_delivery = function(report) reports[#reports + 1] = report end })
    assert(producer:send { topic = topic, value = "v" })
    assert(producer:flush(LIMIT))
    assert.same({ "CLUSTER_AUTHORIZATION_FAILED", true }, { reports[1].code, reports[1].certain })
    helper.eventually(LIMIT, function() -- the event may come after the report
      producer:poll(0.1)
      return #told "error" > 0
    end)
    assert.same({ "CLUSTER_AUTHORIZATION_FAILED true" }, told "error")
    assert.same({}, told "renewed")
    local ok, message, code = producer:send { topic = topic, value = "v" }
    assert.same({ nil, "CLUSTER_AUTHORIZATION_FAILED" }, { ok, code })
    assert.matches("the producer is at its end: ", message, 1, true)
    assert.equal(1, producer:close().failed)
  end)

  it("is flushed, and is closed, in the middle of that", function()
    for _, ending in ipairs { "flush", "close" } do
      open()
      desynchronize()
      for i = 1, 1000 do assert(producer:send { topic = topic, key = "k", value = tostring(i) }) end
      if ending == "flush" then assert(producer:flush(LIMIT)) end
      local report = producer:close { timeout = LIMIT }
      assert.equal(1000, #reports)
      assert.equal(report.sent, report.delivered + report.failed + report.purged)
      assert.is_true(report.failed > 0)
      assert.equal(0, report.purged)
      producer = nil
    end
  end)
end)
