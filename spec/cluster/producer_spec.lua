-- Records that too few copies take: the brokers answer, and librdkafka tries
-- again without a word. On three nodes, of which one is stopped:
-- scripts/kafka run VERSION --nodes 3 -- scripts/busted LUA spec/cluster
local core = require "strand.core"
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local member = require "spec.support.member"
local strand = require "strand"

local NODE = 3
local ALL = { ["min.insync.replicas"] = 3 }

local function node(action)
  local name = ("%s.%d"):format(os.getenv "STRAND_KAFKA_NAME", NODE)
  local ok = os.execute(("scripts/kafka %s %s > /dev/null"):format(action, name))
  assert(ok == true or ok == 0, action .. " failed")
end

local function producer_of(options)
  local events, lines = {}, {}
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = helper.broker()
  options.on_event = function(event) events[#events + 1] = event end
  options.log = function(_, facility, message) lines[#lines + 1] = facility .. ": " .. message end
  return assert(strand.producer(options)), events, lines
end

-- Somebody with an event loop polls when fd is readable, and never else.
local function is_told(limit, producer, condition)
  helper.eventually(limit, function()
    if core.wait({ producer:fd() }, 0.1) then producer:poll(0) end
    return condition()
  end)
end

describe("while a copy of everything is away", function()
  local producer, stopped

  before_each(function() stopped = false end)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
    if stopped then node "restart" end
    member.end_all()
  end)

  local function stop()
    stopped = true
    node "stop"
  end

  local function restart()
    node "restart"
    stopped = false
  end

  it("a topic that wants all of them is an event that says so, while others are written", function()
    local events, lines
    producer, events, lines = producer_of {}
    local strict, lax = helper.topic(2, ALL), helper.topic(2)
    for partition = 0, 1 do
      for _, topic in ipairs { strict, lax } do
        assert(producer:send_wait { topic = topic, partition = partition, timeout = 30 })
      end
    end
    stop()
    assert(producer:send { topic = strict, partition = 1 })
    local seconds = helper.seconds(is_told, 60, producer, function()
      for partition = 0, 1 do assert(producer:send { topic = lax, partition = partition }) end
      return member.events(events, "replicas_missing") > 0
    end)
    assert.is_true(seconds > 9 and seconds < 25 + helper.late, ("after %.1f s"):format(seconds))
    local _, event = member.events(events, "replicas_missing")
    assert.same({ strict, "NOT_ENOUGH_REPLICAS" }, { event.topic, event.code })
    assert.matches("too few in-sync replicas", event.reason, 1, true)
    assert.matches(strict .. "/1 (2 of 3)", event.reason, 1, true)
    assert.is_nil(event.reason:find(lax, 1, true)) -- which takes records
    producer:poll(0)
    assert.matches("replicas_missing", table.concat(lines, "\n"), 1, true)
    assert.same({ 0, 0 }, { member.events(events, "unreachable"), (member.events(events, "leader_missing")) })
    restart()
    is_told(60, producer, function() return producer:stats().outstanding == 0 end)
    assert.equal(0, producer:stats().failed)
  end)

  it("dead letters that want all of them say so, and come when it is back", function()
    local dead, topic = helper.topic(1, ALL), helper.topic(1)
    local consumer, events = member.start { group = helper.name "group", topics = { topic },
      dead_letter = { topic = dead }, retry = { attempts = 1 }, handler = "spec.handlers.poison",
      handler_args = helper.folder() }
    member.wait_assigned(30, consumer, 1)
    stop()
    producer = producer_of {}
    for i = 1, 3 do
      assert(producer:send { topic = topic, headers = { { "do", "ask" }, { "why", "no. " .. i } } })
    end
    helper.eventually(90, function()
      return member.events(events, "replicas_missing", { topic = dead }) > 0
    end, consumer)
    local _, event = member.events(events, "replicas_missing")
    assert.same({ "NOT_ENOUGH_REPLICAS", 0 }, { event.code, event.partition })
    assert.matches("dead letters wait: too few in-sync replicas", event.reason, 1, true)
    assert.matches(dead .. "/0 (2 of 3)", event.reason, 1, true)
    assert.equal(0, member.events(events, "unreachable"))
    restart()
    helper.eventually(90, function() return consumer:stats().dead_lettered == 3 end, consumer)
    local options, book = letters.reader { dead }
    options.group = helper.name "reader"
    local reader = member.start(options)
    assert.equal(3, #book:wait(30, dead, 3, reader))
  end)
end)
