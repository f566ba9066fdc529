-- Limits: what starts within a rate, how many calls a route has at once, and
-- each limit that configure changes while records wait for it.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

local function records(count, value, partition)
  local list = {}
  for i = 1, count do list[i] = { key = "k" .. i, value = value, partition = partition } end
  return list
end

local function enters(folder, topic)
  local times = {}
  for _, line in ipairs(fixture.journal(folder)) do
    if line.what == "enter" and (not topic or line.topic == topic) then
      times[#times + 1] = line.time
    end
  end
  table.sort(times)
  return times
end

-- Of handlers that started: none came before its token was there. A handler
-- starts later than its token is taken, but for the first perhaps: LATE.
local LATE = 0.5

local function assert_within(rate, burst, times)
  for i, time in ipairs(times) do
    local most = burst + rate * (time - times[1] + LATE)
    assert.is_true(i <= most, ("%d had started after %.3f s, %.1f may"):format(i, time - times[1],
      most))
  end
end

-- The most calls that ran at once.
local function most_at_once(folder, topic)
  local running, most = 0, 0
  for _, line in ipairs(fixture.journal(folder)) do
    if line.topic == topic then
      running = running + (line.what == "enter" and 1 or -1)
      most = math.max(most, running)
    end
  end
  return most
end

-- More than that where a second member came late: the mock takes no commit in
-- a rebalance, and what was done is done again.
local function wait_done(consumer, count, limit)
  helper.eventually(limit or 20, function() return consumer:stats().done >= count end, consumer)
end

modes.each(describe, "a rate", function(mode)
  local folder = {}
  local whole, members, routed, changed, waiting
  local topics = {}

  local function open(name, options, count, partitions)
    topics[name], folder[name] = topics[name] or helper.topic(partitions or 1), fixture.folder()
    options.topics, options.handler_args = options.topics or { topics[name] }, folder[name]
    for _, topic in ipairs(options.topics) do fixture.produce(topic, records(count)) end
    return fixture.consumer(options)
  end

  setup(function()
    fixture.open(mode)
    whole = open("whole", { rate = { records_per_second = 40, burst = 5 } }, 80)
    members = open("members", { members = 2, rate = { records_per_second = 40, burst = 8 } }, 80, 4)
    topics.slow, topics.fast = helper.topic(1), helper.topic(1)
    routed = open("routed", { topics = { topics.slow, topics.fast }, handler = {
      [topics.slow] = { "spec.handlers.actor", rate = { records_per_second = 10, burst = 1 } },
      [topics.fast] = "spec.handlers.actor",
    } }, 30)
    changed = open("changed", { rate = { records_per_second = 10, burst = 1 } }, 150)
    waiting = open("waiting", { rate = { records_per_second = 0.01, burst = 1 } }, 100)
    fixture.start(whole, members, routed, changed, waiting)
  end)
  teardown(fixture.close)

  it("of a consumer bounds what starts, and all of it starts in time", function()
    wait_done(whole, 80)
    assert_within(40, 5, enters(folder.whole))
  end)

  it("is shared by the members of a consumer", function()
    wait_done(members, 80)
    assert_within(40, 8 + 1, enters(folder.members))
  end)

  it("of a route holds back that route alone", function()
    wait_done(routed, 60)
    local slow, fast = enters(folder.routed, topics.slow), enters(folder.routed, topics.fast)
    assert_within(10, 1, slow)
    assert.is_true(fast[30] < slow[20], "the fast one had to wait")
  end)

  it("that is changed counts at once", function()
    helper.eventually(20, function() return #enters(folder.changed) >= 5 end, changed)
    assert.is_true(changed:configure { rate = { records_per_second = 10000 } })
    wait_done(changed, 150, 5) -- 14 s at the old one
    assert.is_true(changed:configure { rate = { records_per_second = 1, burst = 1 } })
    fixture.produce(topics.changed, records(100))
    local from = fixture.now()
    helper.eventually(20, function() return #enters(folder.changed) > 151 end, changed)
    helper.eventually(1, fixture.pause(0.5), changed)
    local started = #enters(folder.changed) - 150
    assert.is_true(started <= 1 + 1 + (fixture.now() - from), started .. " have started")
    assert.is_true(changed:configure { rate = false })
    wait_done(changed, 250)
  end)

  it("is waited for without turning round", function()
    helper.eventually(20, function() return waiting:stats().done == 1 end, waiting)
    for _, consumer in ipairs { whole, members, routed, changed } do consumer:close() end
    local before = os.clock()
    helper.eventually(3, fixture.pause(2), waiting)
    local used = (os.clock() - before) / 2
    print(("\nfigure cpu_while_a_rate_waits %.3f"):format(used))
    assert.is_true(used < 0.3, ("%.2f of a core"):format(used))
    assert.equal(1, waiting:stats().done)
  end)
end)

modes.each(describe, "max_in_flight of a route", function(mode)
  setup(function() fixture.open(mode) end)
  teardown(fixture.close)

  it("is never passed, and the other routes go on", function()
    local few, many, folder = helper.topic(3), helper.topic(1), fixture.folder()
    fixture.produce(few, records(40, "gate few;take 0.002"))
    fixture.produce(many, records(40, "take 0.002"))
    local consumer = fixture.start(fixture.consumer { workers = 6, topics = { few, many },
      handler_args = folder, handler = {
        [few] = { "spec.handlers.actor", max_in_flight = 2 }, [many] = "spec.handlers.actor" } })
    helper.eventually(20, function() return #enters(folder, many) == 40 end, consumer)
    helper.eventually(20, function() return #enters(folder, few) == 2 end, consumer)
    helper.eventually(1, fixture.pause(0.3), consumer)
    assert.equal(2, #enters(folder, few))
    fixture.release(folder, "few")
    wait_done(consumer, 80)
    assert.equal(2, most_at_once(folder, few))
  end)
end)

modes.each(describe, "configure while a consumer runs", function(mode)
  local topic, folder, consumer
  local events, sent = {}, 0

  local function produce(list)
    sent = sent + #list
    fixture.produce(topic, list)
  end

  local function held()
    return fixture.count(folder, "enter") - fixture.count(folder, "leave")
  end

  local function told(type)
    return function()
      for _, event in ipairs(events) do
        if event.type == type then return event end
      end
    end
  end

  setup(function()
    fixture.open(mode)
    topic, folder = helper.topic(1), fixture.folder()
    consumer = fixture.start(fixture.consumer { topics = { topic }, handler_args = folder, workers = 1,
      max_ready = 2, max_in_flight = 1, retry = { attempts = 2, delay = 0, max_delay = 0 },
      on_event = function(event) events[#events + 1] = event end })
  end)
  teardown(fixture.close)
  after_each(function()
    for i = #events, 1, -1 do events[i] = nil end
  end)

  -- Behind a handler that is held, 'count' records of other keys.
  local function hold(gate, count, value, key)
    local list = { { key = "held", value = "gate " .. gate } }
    for i = 1, count do list[1 + i] = { key = key or gate .. i, value = value } end
    produce(list)
    helper.eventually(10, function() return held() == 1 end, consumer)
  end

  -- Until all is done that was sent.
  local function let_go(gate)
    if gate then fixture.release(folder, gate) end
    helper.eventually(20, function()
      local place = consumer:assignment()[1]
      return place.position == sent and place.open == 0
    end, consumer)
  end

  it("max_ready: what is handed over and has not started", function()
    hold("ready", 40)
    for _, most in ipairs { 2, 8, 30 } do
      assert.is_true(consumer:configure { max_ready = most })
      helper.eventually(10, function() return consumer:stats().ready == most end, consumer)
      helper.eventually(1, fixture.pause(0.3), consumer)
      assert.equal(most, consumer:stats().ready)
    end
    let_go "ready"
  end)

  it("max_buffered_bytes: what is read and not done", function()
    assert.is_true(consumer:configure { max_buffered_bytes = 100000 })
    local value = ("x"):rep(10000)
    produce(records(40, value)) -- how many fit is told by those before
    let_go()
    hold("bytes", 60, value)
    local most = 0
    local function buffered()
      local stats = consumer:stats()
      most = math.max(most, stats.buffered_bytes)
      return stats.buffered_records
    end
    helper.eventually(10, function() return buffered() > 5 end, consumer)
    helper.eventually(1, fixture.pause(0.5), consumer)
    local few = buffered()
    assert.is_true(few < 20, few .. " are buffered")
    assert.is_true(most < 200000, most .. " bytes are buffered")
    assert.is_true(consumer:configure { max_buffered_bytes = 10000000 })
    helper.eventually(10, function() return buffered() == 61 end, consumer)
    let_go "bytes"
  end)

  it("max_waiting_bytes: what waits behind a failure", function()
    assert.is_true(consumer:configure { max_buffered_records = 4, max_waiting_bytes = 50000,
      retry = { attempts = 1, delay = 0 } })
    local value = ("x"):rep(10000)
    local list = { { key = "one", value = "fail 1" } }
    for i = 2, 40 do list[i] = { key = "one", value = value } end
    produce(list)
    helper.eventually(10, told "partition_blocked", consumer)
    local stats = consumer:stats()
    assert.is_true(stats.waiting_bytes < 80000 and stats.partitions[1].open < 40)
    assert.is_nil(told "partition_unblocked"())
    assert.is_true(consumer:configure { max_buffered_records = 1000, max_waiting_bytes = 5000000 })
    helper.eventually(10, told "partition_unblocked", consumer)
    helper.eventually(10, function() return consumer:stats().partitions[1].open == 40 end, consumer)
    for record in consumer:parked() do assert(consumer:resolve(record, "discard")) end
    let_go()
  end)

  it("retry.attempts and exhausted: when, and what then", function()
    assert.is_true(consumer:configure { retry = { attempts = 3, delay = 0 }, exhausted = "skip" })
    local skipped = consumer:stats().skipped
    produce({ { key = "a", value = "fail 99" } })
    local function attempts() -- an event and what stats() says come in no order
      local most = 0
      for _, event in ipairs(events) do
        if event.type == "record_failed" then most = math.max(most, event.attempt) end
      end
      return most
    end
    helper.eventually(10, function()
      return consumer:stats().skipped == skipped + 1 and attempts() >= 3
    end, consumer)
    assert.equal(3, attempts())
    assert.is_true(consumer:configure { exhausted = "park" })
    produce({ { key = "a", value = "fail 99" } })
    local record = helper.eventually(10, function() return consumer:parked()() end, consumer)
    assert.equal(3, record.attempts)
    assert(consumer:resolve(record, "discard"))
    let_go()
    local ok, message = pcall(consumer.configure, consumer, { exhausted = "dead_letter" })
    assert.is_false(ok)
    assert.matches("option 'exhausted': 'dead_letter' needs the option", message, 1, true)
  end)

  it("retry: a function in place of the table, and back", function()
    assert.is_true(consumer:configure { retry = function(attempt)
      if attempt < 5 then return 0 end
    end })
    produce({ { key = "a", value = "fail 99" } })
    local record = helper.eventually(10, function() return consumer:parked()() end, consumer)
    assert.equal(5, record.attempts)
    assert.is_true(consumer:configure { retry = { attempts = 2, delay = 0 } })
    assert(consumer:resolve(record, "retry"))
    record = helper.eventually(10, function() return consumer:parked()() end, consumer)
    assert.equal(7, record.attempts)
    assert(consumer:resolve(record, "discard"))
    let_go()
  end)

  it("slow_after: when a record that takes its time is an event", function()
    assert.is_true(consumer:configure { slow_after = 0.2 })
    hold("slow", 0)
    local event = helper.eventually(10, told "slow_record", consumer)
    assert.same({ topic, 0, "held" }, { event.topic, event.partition, event.key })
    let_go "slow"
    assert.is_true(consumer:configure { slow_after = false })
    for i = #events, 1, -1 do events[i] = nil end
    hold("untold", 0)
    helper.eventually(2, fixture.pause(1), consumer)
    assert.is_nil(told "slow_record"())
    let_go "untold"
  end)

  it("deadline: how long a handler may take", function()
    assert.is_true(consumer:configure { deadline = 0.2, retry = { attempts = 1 } })
    produce({ { key = "late", value = "gate late" } })
    local event = helper.eventually(10, told "record_failed", consumer)
    assert.matches("longer than its deadline of 0.2 s", event.reason, 1, true)
    if mode.coroutines then fixture.release(folder, "late") end -- nothing ends its coroutine
    local record = helper.eventually(10, function() return consumer:parked()() end, consumer)
    os.remove(folder .. "/late")
    local entered, left = fixture.count(folder, "enter"), fixture.count(folder, "leave")
    assert.is_true(consumer:configure { deadline = false })
    assert.is_true(consumer:resolve(record, "retry"))
    helper.eventually(10, function() return fixture.count(folder, "enter") > entered end, consumer)
    helper.eventually(2, fixture.pause(1), consumer)
    assert.equal(left, fixture.count(folder, "leave"))
    let_go "late"
  end)

  it("revoke_grace: how long a handler holds up a rebalance", function()
    local other_topic, group, other_folder = helper.topic(2), helper.name "group", fixture.folder()
    local function member(grace)
      return fixture.consumer { topics = { other_topic }, kafka = { ["group.id"] = group },
        handler_args = other_folder, revoke_grace = grace }
    end
    local first = fixture.start(member(60))
    fixture.produce(other_topic, { { key = "a", value = "gate held", partition = 0 },
      { key = "b", value = "gate held", partition = 1 } })
    helper.eventually(10, function() return fixture.count(other_folder, "enter") == 2 end, first)
    assert.is_true(first:configure { revoke_grace = 0.2 })
    local second = member(60)
    assert(second:start())
    helper.eventually(30, function() return #second:assignment() == 1 end, first, second)
    assert.equal(0, fixture.count(other_folder, "leave"))
  end)
end)
