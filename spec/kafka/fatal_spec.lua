-- A broker that has lost records which it had acknowledged: what an idempotent
-- producer sends next is out of its sequence there, and its client is at its
-- end (docs/producer.md). The loss is made: the broker is killed, and the log
-- of a partition without another copy is cut behind its first record.
local helper = require "spec.support.helper"
local lfs = require "lfs"
local member = require "spec.support.member"
local node = require "spec.support.node"
local strand = require "strand"

local LIMIT = 60
local CODE = "OUT_OF_ORDER_SEQUENCE_NUMBER"

describe("a broker that lost what it had acknowledged", function()
  local broker, kafka, close, folder, admin

  setup(function()
    broker, kafka, close, folder = node ""
    admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
  end)
  teardown(function()
    admin:close()
    close()
  end)
  after_each(member.end_all)

  local function make() return helper.topic_by(admin, "topic", 1) end

  local function log_of(topic) return folder .. "/data/" .. topic .. "-0/00000000000000000000.log" end

  local function size_of(topic) return lfs.attributes(log_of(topic), "size") end

  -- Of the log only 'size' bytes are there when it comes up again.
  local function lose(topic, size)
    kafka("kill", "")
    local text = helper.read(log_of(topic))
    assert.is_true(#text > size)
    helper.write(log_of(topic), text:sub(1, size))
    kafka("restart", "")
  end

  local function values_in(topic)
    local list = {}
    helper.eventually(20, function() return admin:describe { topics = { topic } } end)
    for _, record in ipairs(assert(admin:read { topic = topic, partition = 0, offset = "earliest",
      records = 1000 })) do
      list[#list + 1] = record.value
    end
    return list
  end

  it("costs a producer its client, and no record is lost in silence, nor out of order", function()
    local topic, events, reports, size = make(), {}, {}, nil
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = broker, ["reconnect.backoff.max.ms"] = 200,
        ["linger.ms"] = 5, ["batch.num.messages"] = 10 },
      on_event = function(event) events[#events + 1] = event end,
      on_delivery = function(report)
        assert(not reports[report.key], "two reports")
        reports[report.key] = report
      end, log = false })
    finally(function() producer:close { timeout = 0 } end)
    local sent = 0
    local function send()
      sent = sent + 1
      assert(producer:send { topic = topic, key = tostring(sent), value = tostring(sent) })
    end
    for _ = 1, 3 do
      send()
      assert(producer:flush(LIMIT))
      size = size or size_of(topic)
    end
    lose(topic, size)
    for _ = 1, 100 do send() end
    helper.eventually(LIMIT, function()
      producer:poll(0.1)
      return member.events(events, "renewed") > 0
    end)
    for _ = 1, 100 do send() end
    assert(producer:flush(LIMIT))
    assert.equal(1, member.events(events, "error", { code = CODE }))
    local _, renewed = member.events(events, "renewed")
    assert.equal(CODE, renewed.code)
    -- all have one report; what is said to be there is, and what is not, not
    local there, last, failed = {}, 0, 0
    for _, value in ipairs(values_in(topic)) do
      assert.is_nil(there[value], "twice: " .. value)
      assert.is_true(tonumber(value) > last, "out of order: " .. value)
      there[value], last = true, tonumber(value)
    end
    assert.is_true(there["1"] and not there["2"] and not there["3"])
    for i = 4, sent do
      local report = assert(reports[tostring(i)], "no report: " .. i)
      if report.error then
        failed = failed + 1
        assert.equal(CODE, report.code)
        assert.is_true(not report.certain or not there[report.key], "there, for certain not: " .. i)
      else
        assert.is_true(there[report.key], "lost: " .. i)
      end
    end
    assert.is_true(failed > 0 and failed <= 100, failed .. " failed")
    local stats = producer:stats()
    assert.same({ sent, sent - failed, failed, 0 },
      { stats.sent, stats.delivered, stats.failed, stats.outstanding })
  end)

  it("costs a consumer the client of its outputs, which are sent again in their order", function()
    local topic, out, size = make(), make(), nil
    local function send(from, to)
      local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = broker } })
      for i = from, to do
        assert(producer:send { topic = topic, key = "k", value = tostring(i) })
      end
      assert(producer:flush(LIMIT))
      producer:close()
    end
    local consumer, events = member.start { group = topic, topics = { topic }, commit_interval = 0.1,
      kafka = { ["bootstrap.servers"] = broker }, handler_args = { out = out },
      producer = { kafka = { ["reconnect.backoff.max.ms"] = 200 } },
      handler = function(record, context)
        context:produce { topic = context.args.out, key = record.key, value = record.value }
      end }
    local function wait_done(count)
      helper.eventually(LIMIT, function() return consumer:stats().done >= count end, consumer)
    end
    for i = 1, 3 do
      send(i, i)
      wait_done(i)
      size = size or size_of(out)
    end
    -- A broker that is away for longer than a session has the group begin anew: what is in no
    -- commit by then would be handled again.
    assert(consumer:commit(LIMIT))
    lose(out, size)
    send(4, 50)
    wait_done(50)
    assert.is_true(member.events(events, "error", { code = CODE }) > 0)
    local list = { "1" }
    for i = 4, 50 do list[#list + 1] = tostring(i) end
    assert.same(list, values_in(out))
    assert.same({ 50, 0 }, { consumer:stats().done, consumer:stats().outputs_failed })
    assert(consumer:close())
  end)
end)
