-- What a pattern brings: topics that no route takes, and none of Kafka's own.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

local function code_of(consumer) return (select(3, consumer:health())) end

describe("a topic without a route", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is never read, and that is told as long as it lasts", function()
    local prefix, told = helper.name "routed", {}
    local taken, left = prefix .. ".taken", prefix .. ".left"
    fixture.produce(taken, { { key = "a" } })
    fixture.produce(left, { { key = "a" } })
    local consumer = fixture.consumer { topics = { "^" .. prefix }, handler = {
      [taken] = "spec.handlers.actor" }, handler_args = fixture.folder(), log = function() end,
      on_event = function(event)
        if event.code == "NO_ROUTE" then told[#told + 1] = event end
      end }
    assert(consumer:start())
    helper.eventually(30, function() return consumer:report().done == 1 end, consumer)
    helper.eventually(10, function() return #told == 1 end, consumer)
    assert.same({ "error", left, "no route of 'handler' matches this topic" },
      { told[1].type, told[1].topic, told[1].reason })
    helper.eventually(10, function() return code_of(consumer) == "NO_ROUTE" end, consumer)
    assert.matches(left, (select(2, consumer:health())), 1, true)
    local states = {}
    for _, place in ipairs(consumer:assignment()) do states[place.topic] = place.state end
    assert.same({ [taken] = "running", [left] = "no_route" }, states)
    for _, part in ipairs(consumer:stats().partitions) do
      assert.equal(states[part.topic], part.state)
    end
    local ok, _, code = consumer:seek { topic = left, partition = 0, offset = "earliest" }
    assert.same({ nil, "NO_ROUTE" }, { ok, code })
    helper.eventually(20, function() return #told == 2 end, consumer)
    assert.is_true(told[2].time - told[1].time > 9)
    assert.equal("NO_ROUTE", code_of(consumer))
    assert.equal(1, consumer:report().done)
  end)
end)

describe("a pattern", function()
  setup(fixture.open)
  teardown(fixture.close)

  local function topics_of(topics, count)
    local strand = require "strand"
    local mock = assert(strand.mock { brokers = 1, topics = {
      orders = 1, ["__consumer_offsets"] = 1, ["__transaction_state"] = 1 } })
    finally(function()
      fixture.clear()
      mock:close()
    end)
    local consumer = fixture.start(fixture.consumer { topics = topics, log = function() end,
      kafka = { ["bootstrap.servers"] = mock.bootstrap_servers } })
    local names
    helper.eventually(20, function()
      names = {}
      for _, place in ipairs(consumer:assignment()) do names[#names + 1] = place.topic end
      return #names >= count
    end, consumer)
    table.sort(names)
    return names
  end

  it("does not find Kafka's internal topics", function()
    assert.same({ "orders" }, topics_of({ "^.*" }, 1))
  end)

  it("leaves those that are named as they are", function()
    assert.same({ "__consumer_offsets", "orders" }, topics_of({ "^.*", "__consumer_offsets" }, 2))
  end)
end)
