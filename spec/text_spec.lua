-- What a person sees who prints what strand gave, and what a test compares.
local helper = require "spec.support.helper"
local strand = require "strand"
local fixture = require "spec.support.fixture"

describe("an outcome", function()
  it("shows what it asks for, and why", function()
    assert.equal("strand.Outcome (retry)", tostring(strand.retry()))
    assert.equal("strand.Outcome (retry after 2.5 s: the table is locked)",
      tostring(strand.retry(2.5, "the table is locked")))
    assert.equal("strand.Outcome (skip: known)", tostring(strand.skip "known"))
    assert.equal("strand.Outcome (park: \0\n)", tostring(strand.park "\0\n"))
  end)

  it("equals another that says the same, and no other", function()
    assert.is_true(strand.retry(5, "x") == strand.retry(5, "x"))
    assert.is_true(strand.skip() == strand.skip())
    local all = { strand.retry(), strand.retry(5), strand.retry(0), strand.retry(5, "x"),
      strand.retry(5, ""), strand.skip(), strand.skip "x", strand.skip "y", strand.park "x",
      strand.stop "x", strand.dead_letter "x" }
    for i = 1, #all do
      for j = 1, #all do assert.equal(i == j, all[i] == all[j]) end
    end
    assert.is_false(strand.skip() == io.stdout)
  end)
end)

describe("what is printed", function()
  teardown(fixture.close)

  it("is the event, the report and the delivery, not their addresses", function()
    fixture.open()
    local topic, events = helper.topic(1), {}
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    local delivery = assert(producer:send_wait { topic = topic, key = "a\0", value = "x" })
    assert.equal(("strand.DeliveryReport (%s/0/0)"):format(topic), tostring(delivery))
    assert.matches("^strand.Report %(sent 1, delivered 1, [%d.e+-]+ s%)$",
      tostring(producer:close()))
    local consumer = fixture.consumer {
      topics = { topic }, retry = { delay = 0.01, jitter = 0 },
      handler = function(record, context)
        if record.attempt == 1 then return false, "not yet" end
        return context:park "enough"
      end,
      on_event = function(event) events[#events + 1] = tostring(event) end,
    }
    assert(consumer:start())
    helper.eventually(30, function() return consumer:stats().parked == 1 end, consumer)
    local report = assert(consumer:close())
    local all = table.concat(events, "\n")
    assert.matches("assigned " .. topic .. "/0", all, 1, true)
    assert.matches("record_failed " .. topic .. '/0/0 key "a\\x00" attempt 1, again in 0.01 s: '
      .. "not yet", all, 1, true)
    assert.matches("parked " .. topic .. '/0/0 key "a\\x00" attempt 2: enough', all, 1, true)
    assert.matches("^strand.Report %(done 0, failed 1, parked 1, unfinished 1, [%d.]+ s%)$",
      tostring(report))
    assert.is_nil(rawget(report, "__tostring"))
  end)
end)

describe("what is no table", function()
  it("is given as it is", function()
    local text = require "strand.text"
    for _, name in ipairs { "event", "report" } do
      assert.same({ nil, "memory ran out", "NO_MEMORY" },
        { text[name](nil, "memory ran out", "NO_MEMORY") })
    end
  end)
end)
