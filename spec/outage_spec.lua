-- Brokers answer, and yet something is away: the group's coordinator, a
-- partition's leader, a right, a topic. On the mock cluster; what it cannot
-- show is in spec/kafka/outage_spec.lua.
local core = require "strand.core"
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

describe("what is away while brokers answer", function()
  local mock, kafka

  before_each(function()
    fixture.open()
    mock = assert(strand.mock { brokers = 3, topics = { orders = 2 } })
    kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, ["group.id"] = helper.name "group",
      ["session.timeout.ms"] = 3000, ["heartbeat.interval.ms"] = 500,
      ["reconnect.backoff.max.ms"] = 500 }
    for partition = 0, 1 do mock:leader("orders", partition, 1) end
    mock:coordinator(kafka["group.id"], 2)
  end)
  after_each(function()
    fixture.clear()
    mock:close()
    fixture.close()
  end)

  local function open(options)
    local events, lines = {}, {}
    options.topics, options.kafka = { "orders" }, kafka
    options.log = function(_, _, message) lines[#lines + 1] = message end
    options.on_event = function(event) events[#events + 1] = event end
    return fixture.consumer(options), events, lines
  end

  local function of(events, type)
    local found = {}
    for _, event in ipairs(events) do
      if event.type == type then found[#found + 1] = event end
    end
    return found
  end

  local function health(consumer)
    local ok, reason, code = consumer:health()
    return ok and "OK" or code, reason
  end

  local function send(count)
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = mock.bootstrap_servers }, log = function() end })
    for i = 1, count do
      assert(producer:send { topic = "orders", key = "k" .. i, partition = 0 })
    end
    assert(producer:flush(20))
    producer:close()
  end

  it("a coordinator that dies: health ends with what is lost, and says why", function()
    local consumer, events = open {}
    fixture.start(consumer)
    assert.equal("OK", health(consumer))
    mock:down(2)
    helper.eventually(15, function() return #of(events, "lost") == 2 end, consumer)
    assert.equal("NOT_ASSIGNED", health(consumer))
    local lost = fixture.now()
    helper.eventually(40, function() return #of(events, "join_failed") == 1 end, consumer)
    local seconds = fixture.now() - lost
    assert.is_true(seconds > 8 and seconds < 35, ("after %.1f s"):format(seconds))
    local event = of(events, "join_failed")[1]
    assert.equal("COORDINATOR_UNREACHABLE", event.code)
    assert.matches("coordinator does not answer", event.reason, 1, true)
    local code, reason = health(consumer)
    assert.equal("CANNOT_JOIN", code)
    assert.matches("coordinator does not answer", reason, 1, true)
    assert.equal(0, #of(events, "unreachable"))
    mock:up(2)
    helper.eventually(20, function() return consumer:health() end, consumer)
    assert.equal(1, #of(events, "join_failed"))
  end)

  -- librdkafka asks the broker that is gone again and again, and no other.
  it("the broker that is asked about the topics goes: another one is, and the group joined",
    function()
      local address = mock.bootstrap_servers:match "[^,]+"
      kafka["bootstrap.servers"], kafka["debug"] = address, "cgrp"
      for partition = 0, 1 do mock:leader("orders", partition, 3) end
      mock:rtt(1, 2) -- the first one: slow enough to go before it answers
      local consumer, events, lines = open {}
      assert(consumer:start())
      local function said(text)
        for _, line in ipairs(lines) do
          if line:find(text, 1, true) then return true end
        end
      end
      helper.eventually(40, function() return said "init -> wait-metadata" end, consumer)
      mock:down(1)
      assert.is_nil(said "wait-metadata -> ")
      local seconds = helper.seconds(helper.eventually, 40, function()
        return consumer:health()
      end, consumer)
      assert.is_true(seconds < 20 + helper.late, ("joined after %.1f s"):format(seconds))
      assert.is_true(said "no request to join is sent")
      -- refused it was by nobody
      for _, event in ipairs(of(events, "join_failed")) do
        assert.not_equal("JOIN_REFUSED", event.code)
      end
    end)

  it("an error of joining that comes every second is told with back-off", function()
    mock:fail("JoinGroup", "GROUP_MAX_SIZE_REACHED", 1000)
    local consumer, events = open {}
    assert(consumer:start())
    helper.eventually(10, function() return #of(events, "error") > 0 end, consumer)
    assert.equal("GROUP_MAX_SIZE_REACHED", of(events, "error")[1].code)
    local code, reason = health(consumer)
    assert.equal("NOT_ASSIGNED", code)
    assert.matches("JoinGroup failed", reason, 1, true)
    helper.eventually(40, function() return #of(events, "join_failed") == 1 end, consumer)
    assert.equal("GROUP_MAX_SIZE_REACHED", of(events, "join_failed")[1].code)
    helper.eventually(10, fixture.pause(8), consumer)
    code, reason = health(consumer)
    assert.equal("CANNOT_JOIN", code)
    assert.matches("JoinGroup failed", reason, 1, true)
    assert.is_true(#of(events, "error") <= 2, #of(events, "error") .. " errors")
    assert.equal(1, #of(events, "join_failed"))
  end)

  it("a join that waits for the group's other members is no failure", function()
    kafka["session.timeout.ms"] = 20000
    local one, events = open {}
    fixture.start(one)
    local two, told = open {}
    assert(two:start())
    helper.eventually(60, function()
      local code, reason = health(two)
      return code == "NOT_ASSIGNED" and reason:find("other members", 1, true)
    end, one, two)
    -- From now on there is a second between an answer and what comes of it: who
    -- assigns asks the coordinator for the topics.
    mock:rtt(2, 1.2)
    helper.eventually(60, function() return one:health() and two:health() end, one, two)
    mock:rtt(2, 0)
    local failures = {}
    for _, list in ipairs { events, told } do
      for _, what in ipairs { "join_failed", "unreachable", "error" } do
        for _, event in ipairs(of(list, what)) do
          failures[#failures + 1] = ("%s: %s (%s)"):format(what, event.reason, event.code)
        end
      end
    end
    assert.same({}, failures)
  end)

  -- Two of a group: a handler of the first, until "slow" is released in the folder, keeps the other
  -- from joining. -> the first, its events, the other, its events, the folder
  local function open_held_up()
    kafka["session.timeout.ms"] = 20000
    local folder = fixture.folder()
    local one, before = open { handler_args = folder, revoke_grace = 60 }
    fixture.start(one)
    fixture.produce("orders", { { partition = 0, value = "gate slow" } },
      { ["bootstrap.servers"] = mock.bootstrap_servers })
    helper.eventually(20, function() return fixture.count(folder, "enter") == 1 end, one)
    local two, events = open {}
    assert(two:start())
    helper.eventually(20, function() return #of(before, "revoked") > 0 end, one, two)
    return one, before, two, events, folder
  end

  it("a rebalance that waits for its own handlers is no failure to join", function()
    local one, events, two, _, folder = open_held_up()
    local over = fixture.pause(13)
    helper.eventually(30, function()
      assert.not_equal("CANNOT_JOIN", health(one))
      return over()
    end, one, two)
    fixture.release(folder, "slow")
    helper.eventually(40, function() return one:health() and two:health() end, one, two)
    assert.equal(0, #of(events, "join_failed"))
  end)

  it("a partition without a leader is an event that names it, and ends when it is read", function()
    local folder = fixture.folder()
    local consumer, events = open { handler_args = folder }
    fixture.start(consumer)
    send(1)
    helper.eventually(20, function() return fixture.count(folder, "leave") == 1 end, consumer)
    local begun = fixture.now()
    mock:leader("orders", 0) -- none
    helper.eventually(40, function() return #of(events, "leader_missing") > 0 end, consumer)
    local seconds = fixture.now() - begun
    assert.is_true(seconds > 8 and seconds < 35, ("after %.1f s"):format(seconds))
    local event = of(events, "leader_missing")[1]
    assert.same({ "orders", 0, "LEADER_NOT_AVAILABLE" }, { event.topic, event.partition, event.code })
    assert.matches("orders/0", event.reason, 1, true)
    assert.is_nil(event.reason:find("orders/1", 1, true))
    local code, reason = health(consumer)
    assert.equal("NO_LEADER", code)
    assert.matches("orders/0", reason, 1, true)
    assert.equal(0, #of(events, "unreachable"))
    mock:leader("orders", 0, 1)
    helper.eventually(20, function() return consumer:health() end, consumer)
    send(1)
    helper.eventually(20, function() return fixture.count(folder, "leave") == 2 end, consumer)
  end)

  it("a leader's broker that is down while others answer is the same", function()
    local consumer, events = open {}
    fixture.start(consumer)
    for partition = 0, 1 do mock:leader("orders", partition, 3) end
    helper.eventually(5, fixture.pause(1), consumer)
    mock:down(3)
    helper.eventually(40, function() return #of(events, "leader_missing") > 0 end, consumer)
    assert.matches("orders/0, orders/1", of(events, "leader_missing")[1].reason, 1, true)
    assert.equal("NO_LEADER", health(consumer))
    assert.equal(0, #of(events, "unreachable"))
    mock:up(3)
    helper.eventually(20, function() return consumer:health() end, consumer)
    assert.equal(1, #of(events, "leader_missing"))
  end)

  it("brokers that take their time are not away", function()
    kafka["session.timeout.ms"] = 20000
    mock:rtt(nil, 2.5) -- longer than the question for any of them has
    local consumer, events = open {}
    assert(consumer:start())
    helper.eventually(90, function() return consumer:health() end, consumer)
    mock:rtt(nil, 0)
    assert.same({}, of(events, "unreachable"))
  end)

  it("nor are they while the group's other members keep one from joining", function()
    local one, _, two, events, folder = open_held_up()
    mock:rtt(nil, 4)
    helper.eventually(60, fixture.pause(25), one, two)
    mock:rtt(nil, 0)
    assert.same({}, of(events, "unreachable"))
    fixture.release(folder, "slow")
    helper.eventually(40, function() return one:health() and two:health() end, one, two)
  end)

  it("no broker at all is over with the first commit that one takes", function()
    kafka["session.timeout.ms"], kafka["socket.timeout.ms"] = 60000, 1000
    local consumer, events = open { commit_interval = 3600 }
    fixture.start(consumer)
    for broker = 1, 3 do mock:down(broker) end
    helper.eventually(40, function() return #of(events, "unreachable") == 1 end, consumer)
    assert.equal("UNREACHABLE", health(consumer))
    for broker = 1, 3 do mock:up(broker) end
    send(5)
    helper.eventually(30, function() return consumer:stats().done == 5 end, consumer)
    helper.eventually(30, function() return consumer:commit() end, consumer)
    assert.equal("OK", health(consumer))
  end)

  it("no broker at all is over soon also for one that has nothing to do", function()
    kafka["session.timeout.ms"], kafka["socket.timeout.ms"] = 60000, 1000
    local consumer, events = open {}
    fixture.start(consumer)
    for broker = 1, 3 do mock:down(broker) end
    -- Told again after 10 s, and then after 20.
    helper.eventually(60, function() return #of(events, "unreachable") == 2 end, consumer)
    for broker = 1, 3 do mock:up(broker) end
    local up = fixture.now()
    helper.eventually(40, function() return consumer:health() end, consumer)
    local seconds = fixture.now() - up
    assert.is_true(seconds < 15, ("well after %.1f s"):format(seconds))
  end)

  it("commits that keep failing are not well, until one succeeds", function()
    local folder = fixture.folder()
    local consumer, events = open { commit_interval = 0.1, handler_args = folder }
    fixture.start(consumer)
    mock:fail("OffsetCommit", "GROUP_AUTHORIZATION_FAILED", 8)
    send(1)
    helper.eventually(20, function() return #of(events, "commit_failed") > 0 end, consumer)
    helper.eventually(10, function() return health(consumer) == "COMMIT_FAILS" end, consumer)
    local _, reason = health(consumer)
    assert.matches("commits fail", reason, 1, true)
    helper.eventually(60, function() return consumer:health() end, consumer)
    helper.eventually(10, function() return #of(events, "commit_failed") >= 8 end, consumer) -- the last comes later
  end)

  it("dead letters whose topic has no leader say that, not that no broker answers", function()
    local folder = fixture.folder()
    assert(mock:create_topic("dead", 1))
    mock:leader("dead", 0) -- none
    local consumer, events = open { handler = "spec.handlers.poison", handler_args = folder,
      dead_letter = { topic = "dead" } }
    fixture.start(consumer)
    fixture.produce("orders", { { partition = 0, headers = { { "do", "ask" }, { "why", "so" } } } },
      { ["bootstrap.servers"] = mock.bootstrap_servers })
    helper.eventually(60, function() return #of(events, "leader_missing") > 0 end, consumer)
    local event = of(events, "leader_missing")[1]
    assert.same({ "dead", 0, "LEADER_NOT_AVAILABLE" }, { event.topic, event.partition, event.code })
    assert.equal("dead letters wait: no leader answers for dead/0", event.reason)
    assert.equal(0, #of(events, "unreachable"))
    mock:leader("dead", 0, 2)
    helper.eventually(40, function() return consumer:stats().dead_lettered == 1 end, consumer)
  end)

  it("a right that was taken away is not forgotten after one read", function()
    local folder = fixture.folder()
    local consumer, events = open { handler_args = folder }
    fixture.start(consumer)
    send(1)
    helper.eventually(20, function() return fixture.count(folder, "leave") == 1 end, consumer)
    mock:fail("Fetch", "TOPIC_AUTHORIZATION_FAILED", 10000)
    helper.eventually(10, function() return #of(events, "auth_failed") > 0 end, consumer)
    local over = fixture.pause(4)
    helper.eventually(10, function()
      local code = health(consumer)
      if code ~= "AUTH" then error("health is " .. code) end
      return over()
    end, consumer)
  end)
end)

describe("a producer's partition without a leader, while brokers answer", function()
  local mock, producer, events, lines

  before_each(function()
    mock = assert(strand.mock { brokers = 3, topics = { orders = 2 } })
    for partition = 0, 1 do mock:leader("orders", partition, partition + 1) end
    events, lines = {}, {}
  end)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
    mock:close()
  end)

  local function open(kafka)
    kafka["bootstrap.servers"] = mock.bootstrap_servers
    producer = assert(strand.producer { kafka = kafka,
      on_event = function(event) events[#events + 1] = event end,
      log = function(_, facility, message) lines[#lines + 1] = facility .. ": " .. message end })
    for partition = 0, 1 do
      assert(producer:send_wait { topic = "orders", partition = partition, timeout = 30 })
    end
  end

  -- As an event loop does it: fd is waited for, and nothing else wakes it.
  local function wait(limit, condition)
    helper.eventually(limit, function()
      if core.wait({ producer:fd() }, 0.1) then producer:poll(0) end
      return condition()
    end)
  end

  local function told(type)
    local count, last = 0, nil
    for _, event in ipairs(events) do
      if event.type == type then count, last = count + 1, event end
    end
    return count, last
  end

  local function names_it(code)
    local _, event = told "leader_missing"
    assert.same({ "orders", 0, code }, { event.topic, event.partition, event.code })
    assert.matches("no leader answers for orders/0", event.reason, 1, true)
    assert.is_nil(event.reason:find("orders/1", 1, true))
    assert.matches("leader_missing orders/0: no leader", tostring(event), 1, true)
    producer:poll(0)
    assert.matches("strand: records wait: leader_missing", table.concat(lines, "\n"), 1, true)
    assert.equal(0, (told "unreachable"))
  end

  it("is an event after 10 s, while the others take records, and again with back-off", function()
    open {}
    mock:leader("orders", 0) -- none
    assert(producer:send { topic = "orders", partition = 0 })
    local function goes_on(count)
      return function()
        assert(producer:send { topic = "orders", partition = 1 })
        return told "leader_missing" >= count
      end
    end
    local seconds = helper.seconds(wait, 60, goes_on(1))
    assert.is_true(seconds > 9.9 and seconds < 20 + helper.late, ("after %.1f s"):format(seconds))
    names_it "LEADER_NOT_AVAILABLE"
    assert.matches("not acknowledged within 0.1 s (no leader answers for orders/0)",
      select(2, producer:flush(0.1)), 1, true)
    wait(60, goes_on(2))
    assert.is_true(events[2].time - events[1].time > 9)
    mock:leader("orders", 0, 1)
    wait(30, function() return producer:stats().outstanding == 0 end)
    assert.equal(0, producer:stats().failed)
    assert.equal(2, (told "leader_missing"))
  end)

  it("is an event before its record is given up, also to who waits in flush", function()
    open { ["message.timeout.ms"] = 12000, ["linger.ms"] = 200 }
    mock:leader("orders", 0)
    assert(producer:send { topic = "orders", partition = 0 })
    assert(producer:flush(40))
    assert.equal(1, producer:stats().failed)
    names_it "LEADER_NOT_AVAILABLE"
  end)

  it("is the same when its broker is down", function()
    open { ["message.timeout.ms"] = 20000 }
    mock:down(1)
    assert(producer:send { topic = "orders", partition = 0 })
    wait(60, function() return told "leader_missing" > 0 end)
    assert.equal(1, producer:stats().outstanding)
    local _, event = told "leader_missing"
    assert.same({ "orders", 0 }, { event.topic, event.partition })
    assert.equal(0, (told "unreachable"))
  end)

  it("is no event where every record is taken, and nothing wakes fd then", function()
    open { ["message.timeout.ms"] = 4000 }
    mock:leader("orders", 0) -- but nothing is sent there
    local over, turns = core.now() + 4, 0
    repeat
      assert(producer:send_wait { topic = "orders", partition = 1, timeout = 20 })
    until core.now() > over
    producer:poll(0)
    over = core.now() + 3
    while core.now() < over do
      core.wait({ producer:fd() }, over - core.now())
      producer:poll(0)
      turns = turns + 1
    end
    assert.is_true(turns < 4, ("%d turns"):format(turns))
    assert.same({}, events)
  end)
end)

describe("a handler whose setup fails", function()
  it("is told once, not by each worker", function()
    fixture.open()
    local events = {}
    local consumer = fixture.consumer { topics = { "orders" }, workers = 16,
      handler = "spec.handlers.unready", log = function() end,
      on_event = function(event) events[#events + 1] = event end }
    local ok, message, code = consumer:start()
    assert.same({ nil, "HANDLER" }, { ok, code })
    assert.matches("not ready", message, 1, true)
    consumer:close()
    assert.equal(1, #events)
    assert.equal("worker_lost", events[1].type)
    fixture.close()
  end)
end)
