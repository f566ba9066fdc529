-- Seeks that come early, and those that nobody waits for any more.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

local function records(count)
  local list = {}
  for i = 1, count do list[i] = { key = "k" .. i, partition = 0 } end
  return list
end

describe("a seek when a partition is assigned", function()
  setup(fixture.open)
  after_each(function() helper.mock():rtt(nil, 0) end)
  teardown(fixture.close)

  -- A consumer that seeks in the event, while the brokers are slow to say what
  -- was committed; its folder, and what is told and answered.
  local function seeking(topic, to)
    local folder, told, answers = fixture.folder(), {}, {}
    local consumer
    consumer = fixture.consumer { topics = { topic }, handler_args = folder,
      on_event = function(event)
        told[#told + 1] = event.type
        if event.type ~= "assigned" then return end
        for _, offset in ipairs(to) do
          answers[#answers + 1] = { consumer:seek { topic = topic, partition = event.partition,
            offset = offset } }
        end
      end }
    return consumer, folder, told, answers
  end

  it("waits until it is known what was done of it, and goes there", function()
    local topic = helper.topic(1)
    fixture.produce(topic, records(10))
    local consumer, folder, told, answers = seeking(topic, { 2, 7 })
    helper.mock():rtt(nil, 0.2)
    assert(consumer:start())
    helper.eventually(30, function() return #answers == 2 end, consumer)
    assert.same({ { true }, { true } }, answers)
    helper.mock():rtt(nil, 0)
    helper.eventually(30, function() return #told == 4 end, consumer)
    assert.same({ "assigned", "restored", "sought", "sought" }, told)
    helper.eventually(30, function()
      return consumer:assignment()[1].true_lag == 0 and consumer:report().done >= 3
    end, consumer)
    local seen = {}
    for _, line in ipairs(fixture.journal(folder)) do seen[line.offset] = true end
    for offset = 7, 9 do assert.is_true(seen[offset]) end
  end)

  it("says so when the partition goes before that", function()
    local topic = helper.topic(1)
    local consumer, _, told = seeking(topic, {})
    helper.mock():rtt(nil, 0.5)
    assert(consumer:start())
    helper.eventually(30, function() return told[1] == "assigned" end, consumer)
    local ticket = assert(consumer.core:seek_begin(topic, 0, "offset", 0))
    consumer:stop()
    local ok, message, code
    helper.eventually(30, function()
      ok, message, code = consumer.core:seek_done(ticket)
      return ok ~= false
    end, consumer)
    assert.same({ nil, "NOT_ASSIGNED" }, { ok, code })
    assert.is_string(message)
  end)
end)

describe("seeks that were given up", function()
  setup(fixture.open)
  after_each(function() helper.mock():rtt(nil, 0) end)
  teardown(fixture.close)

  it("do not happen one after another when the broker is back", function()
    local topic, sought = helper.topic(1), {}
    fixture.produce(topic, records(10))
    local consumer = fixture.consumer { topics = { topic }, on_event = function(event)
      if event.type == "sought" then sought[#sought + 1] = event.to end
    end }
    assert(consumer:start())
    helper.eventually(30, function() return consumer:report().done == 10 end, consumer)
    helper.mock():rtt(nil, 0.5)
    for offset = 0, 7 do
      local ok, _, code = consumer:seek { topic = topic, partition = 0, offset = offset,
        timeout = 0.01 }
      assert.same({ nil, "TIMED_OUT" }, { ok, code })
    end
    helper.mock():rtt(nil, 0)
    assert(consumer:seek { topic = topic, partition = 0, offset = 9 })
    helper.eventually(10, function() return sought[#sought] == 9 end, consumer)
    assert.is_true(#sought <= 2, table.concat(sought, " ")) -- one had begun
  end)
end)
