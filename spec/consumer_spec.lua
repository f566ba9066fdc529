-- The consumer's interface on a real client and the mock cluster: what each
-- method answers while records are held, fail and wait. The run loop alone,
-- on a core that is played: spec/callbacks_spec.lua.
local core = require "strand.core"
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

local function raises(expected, action, ...)
  local ok, message = pcall(action, ...)
  assert.is_false(ok)
  assert.matches(expected, message, 1, true)
end

-- Whether the descriptor is readable within 'limit' seconds.
local function readable(fd, limit)
  return (helper.seconds(core.wait, { fd }, limit)) < limit * 0.9
end

local function by_offset(list)
  local found = {}
  for _, entry in ipairs(list) do found[entry.offset] = entry end
  return found
end

-- One topic, one partition: a record that was done, one held at a gate, one
-- that failed and waits for an hour, one behind it, and six more.
describe("a consumer with a record held and a record failing", function()
  local consumer, topic, folder, group
  local events = {}

  setup(function()
    fixture.open()
    topic, group, folder = helper.topic(1), helper.name "group", fixture.folder()
    fixture.produce(topic, {
      { key = "a" }, { key = "g", value = "gate first" }, { key = "f", value = "fail 100" },
      { key = "f" }, { key = "b" }, { key = "c" }, { key = "d" }, { key = "e" }, { key = "h" },
      { key = "i" },
    })
    consumer = fixture.start(fixture.consumer {
      kafka = { ["group.id"] = group }, topics = { topic }, handler_args = folder,
      commit_interval = 3600, retry = { delay = 3600, max_delay = 3600, jitter = 0 },
      on_event = function(event) events[#events + 1] = event end,
    })
    helper.eventually(10, function()
      local stats = consumer:stats()
      return stats.done == 7 and stats.failed == 1 and stats.in_flight == 1
    end, consumer)
  end)
  teardown(fixture.close)

  local function seen(type)
    for _, event in ipairs(events) do
      if event.type == type then return event end
    end
  end

  it("is well, and says so", function()
    assert.is_true(consumer:health())
  end)

  it("names the records that hold the commit back", function()
    local list = helper.eventually(5, function()
      local blockers = consumer:blockers()
      return #blockers == 3 and blockers
    end, consumer)
    local found = by_offset(list)
    for offset = 1, 3 do
      assert.equal(("%s/0/%d"):format(topic, offset), found[offset].id)
      assert.equal(topic, found[offset].topic)
      assert.equal(0, found[offset].partition)
      assert.is_true(found[offset].age >= 0 and found[offset].age < 60)
    end
    assert.same({ "g", 0, "running" }, { found[1].key, found[1].attempts, found[1].state })
    assert.same({ "f", 1, "waiting" }, { found[2].key, found[2].attempts, found[2].state })
    assert.equal("attempt 1 fails", found[2].reason)
    assert.same({ "f", 0, "behind" }, { found[3].key, found[3].attempts, found[3].state })
    assert.is_nil(found[1].reason)
  end)

  it("names no more of them than it is asked for, the oldest first", function()
    local list = helper.eventually(5, function()
      local blockers = consumer:blockers(1)
      return #blockers > 0 and blockers
    end, consumer)
    assert.equal(1, #list)
    assert.equal(1, list[1].offset)
  end)

  it("counts in stats what it has done, and what it holds", function()
    local stats = consumer:stats()
    assert.same({ 7, 1, 1 }, { stats.done, stats.failed, stats.in_flight })
    assert.equal(2, stats.waiting_records) -- in back-off, and behind it
    assert.is_true(stats.waiting_bytes > 0)
    assert.equal(4, stats.workers)
    assert.equal(0, stats.ready)
    assert.equal(0, stats.events_dropped)
    assert.equal(1, #stats.partitions)
    assert.same({ 3, 9 }, { stats.partitions[1].open, stats.partitions[1].highest_done })
  end)

  it("lists its assignment with position, commit and lag", function()
    local list = helper.eventually(10, function()
      local assignment = consumer:assignment()
      return assignment[1] and assignment[1].end_offset and assignment
    end, consumer)
    assert.equal(1, #list)
    local place = list[1]
    assert.same({ topic, 0 }, { place.topic, place.partition })
    assert.is_true(place.epoch >= 1)
    assert.same({ 10, 10, 3 }, { place.position, place.end_offset, place.true_lag })
    assert.same({ "running", false }, { place.state, place.paused })
    assert.is_nil(place.committed)
  end)

  it("tells of assignment, restoring and failure with all that is known", function()
    local assigned, restored, failed = seen "assigned", seen "restored", seen "record_failed"
    assert.same({ topic, 0 }, { assigned.topic, assigned.partition })
    assert.same({ topic, 0 }, { restored.topic, restored.partition })
    assert.same({ topic, 0, 2, "f", 1 },
      { failed.topic, failed.partition, failed.offset, failed.key, failed.attempt })
    assert.equal("attempt 1 fails", failed.reason)
    assert.equal(3600, failed.delay)
    assert.is_true(math.abs(failed.time - os.time()) < 60)
  end)

  it("waits in commit for the answer, which others then read", function()
    assert.same({}, fixture.committed(group, topic))
    assert.is_true(consumer:commit())
    local committed = fixture.committed(group, topic)[0]
    assert.equal(1, committed.offset)
    assert.equal(9, committed.decoded.highest)
    assert.same({ { 1, 3 } }, committed.decoded.incomplete)
    helper.eventually(5, function()
      return consumer:assignment()[1].committed == 1
    end, consumer)
    assert.equal(9, consumer:assignment()[1].lag) -- what it looks like from outside
    assert.equal(3, consumer:assignment()[1].true_lag)
  end)

  it("reports what is done so far", function()
    local report = consumer:report()
    assert.same({ 7, 1, false }, { report.done, report.failed, report.detached })
    assert.same({ { topic = topic, partition = 0, offset = 1 } }, report.committed)
    assert.is_true(report.seconds > 0 and report.seconds < 60)
  end)

  it("has one descriptor for life, readable as long as step has work", function()
    local fd = consumer:fd()
    while consumer:step(0) > 0 do end
    assert.is_false(readable(fd, 0.2))
    assert.is_true(consumer:configure { retry = { delay = 0.01, jitter = 0 } })
    fixture.produce(topic, { { key = "j", value = "fail 1" } })
    assert.is_true(readable(fd, 10))
    assert.is_true(readable(fd, 10)) -- level-triggered: nobody took it
    assert.is_true(consumer:step(0) > 0)
    helper.eventually(5, function() return consumer:stats().done == 8 end, consumer)
    while consumer:step(0) > 0 do end
    assert.is_false(readable(fd, 0.2))
    assert.equal(fd, consumer:fd())
  end)

  it("never waits in step(0), and no longer than it is told in step(n)", function()
    local seconds, served = helper.seconds(consumer.step, consumer, 0)
    assert.equal(0, served)
    assert.is_true(seconds < 0.1 + helper.late)
    seconds, served = helper.seconds(consumer.step, consumer, 0.2)
    assert.equal(0, served)
    assert.is_true(seconds > 0.15 and seconds < 1 + helper.late)
  end)

  it("wakes from step when there is something, and says how much it served", function()
    fixture.produce(topic, { { key = "k", value = "gate event;fail 1" } })
    helper.eventually(10, function() return fixture.count(folder, "enter", 11) == 1 end)
    while consumer:step(0) > 0 do end
    local before = #events
    fixture.release(folder, "event")
    local seconds, served = helper.seconds(consumer.step, consumer, 30)
    assert.is_true(seconds < 5 + helper.late)
    assert.is_true(served >= 1)
    assert.equal(before + served, #events)
  end)

  it("does not lose its place, and finishes what is held, in close", function()
    fixture.release(folder, "first")
    helper.eventually(5, function() -- the one of above was tried again, too
      return consumer:stats().in_flight == 0 and consumer:stats().done == 10
    end, consumer)
    local report = assert(consumer:close { timeout = 10 })
    -- What is in back-off, and behind it, is not waited for.
    assert.equal(2, #report.unfinished)
    local found = by_offset(report.unfinished)
    assert.equal("waiting", found[2].state)
    assert.equal("behind", found[3].state)
    assert.same({ { topic = topic, partition = 0, offset = 2 } }, report.committed)
    assert.is_false(report.detached)
    assert.is_not_nil(seen "revoked")
    local committed = fixture.committed(group, topic)[0]
    assert.equal(2, committed.offset)
    assert.same({ { 2, 3 } }, committed.decoded.incomplete)
  end)

  it("closed: gives its last state, and raises for everything else", function()
    assert.same({ nil, "the consumer is closed", "CLOSED" }, { consumer:step(0) })
    assert.same({ nil, "the consumer is closed", "CLOSED" }, { consumer:health() })
    assert.equal(10, consumer:report().done)
    assert.equal(10, consumer:stats().done)
    assert.equal(10, consumer:close().done)
    for _, name in ipairs { "run", "start", "stop", "fd", "commit", "seek", "pause", "resume",
      "assignment", "blockers", "configure", "parked", "resolve" } do
      raises("attempt to use a closed consumer", consumer[name], consumer)
    end
  end)
end)

describe("run", function()
  setup(fixture.open)
  teardown(fixture.close)
  after_each(fixture.clear)

  it("calls tick every so often, and returns a report after stop() in it", function()
    local ticks, started = {}, fixture.now()
    local consumer = fixture.consumer { topics = { helper.topic(1) } }
    local report = assert(consumer:run { every = 0.1, tick = function(self)
      assert.equal(consumer, self)
      ticks[#ticks + 1] = fixture.now() - started
      if #ticks == 5 then self:stop() end
    end })
    assert.equal(5, #ticks)
    for i = 2, 5 do assert.is_true(ticks[i] - ticks[i - 1] >= 0.09) end
    assert.is_true(ticks[5] < 3)
    assert.equal(0, report.done)
    raises("attempt to use a closed consumer", consumer.run, consumer) -- single-use
  end)

  it("serves two consumers that share nothing, each until its own end", function()
    local empty, topic = helper.topic(1), helper.topic(2)
    local records = {}
    for i = 1, 20 do records[i] = { key = "k" .. i % 5 } end
    fixture.produce(topic, records)
    local first, second, workers
    first = fixture.consumer { topics = { empty }, workers = 1, on_event = function(event)
      if event.type == "assigned" then
        workers = first:stats().workers
        first:stop()
      elseif event.type == "revoked" then -- the other goes on alone, and this record ends it
        if pcall(helper.eventually, 30, function() return second:stats().done == 20 end) then
          fixture.produce(topic, { { key = "end", value = "leave" } })
        else
          second:stop()
        end
      end
    end }
    second = fixture.consumer { topics = { topic }, workers = 2 }
    local reports = assert(strand.run(first, second))
    assert.equal(2, #reports)
    assert.equal(1, workers)
    assert.equal(0, reports[1].done)
    assert.equal(21, reports[2].done)
  end)
end)

-- A process of its own: arg is bootstrap servers, group, topic, folder.
local PROGRAM = [[
local strand = require "strand"
local bootstrap, group, topic, folder = (table.unpack or unpack)(arg)
io.stdout:setvbuf "no"
local function open(name)
  return assert(strand.consumer {
    kafka = { ["bootstrap.servers"] = bootstrap, ["group.id"] = group .. name,
      ["session.timeout.ms"] = 6000, ["fetch.wait.max.ms"] = 10 },
    topics = { topic }, workers = 2, handler = "spec.handlers.actor", handler_args = folder,
    on_event = function(event) print(event.type) end,
  })
end
local function show(report)
  print(("done %d unfinished %d detached %s"):format(
    report.done, #report.unfinished, tostring(report.detached)))
end
]]

local RUN = PROGRAM .. [[
local consumer = open ""
show(assert(consumer:run { every = 0.02, tick = function() io.write "." end }))
]]

describe("a signal", function()
  local topic, group, folder

  setup(fixture.open)
  teardown(fixture.close)
  before_each(function()
    topic, group, folder = helper.topic(1), helper.name "group", fixture.folder()
  end)
  after_each(function()
    fixture.clear()
    helper.end_children()
  end)

  local function spawn(program)
    return helper.spawn(program, helper.bootstrap(), group, topic, folder)
  end

  -- The handler holds a record at gate "one".
  local function spawn_held(program)
    fixture.produce(topic, { { key = "a" }, { key = "b", value = "gate one" } })
    local child = spawn(program)
    helper.eventually(30, function()
      return fixture.count(folder, "enter", 1) == 1 and fixture.count(folder, "leave", 0) == 1
    end)
    return child
  end

  -- No tick any more: it has heard the signal, and is closing.
  local function has_heard(child)
    helper.eventually(10, function()
      local before = #child:output()
      helper.eventually(1, fixture.pause(0.2))
      return #child:output() == before
    end)
  end

  for _, name in ipairs { "TERM", "INT" } do
    it("SIG" .. name .. " ends run() after what is in flight, with a commit, and status 0", function()
      local child = spawn_held(RUN)
      child:signal(name)
      has_heard(child)
      assert.is_nil(child:status()) -- it waits for its handler
      fixture.release(folder, "one")
      assert.equal(0, child:wait(10), child:errors())
      child:says "done 2 unfinished 0 detached false"
      assert.equal(2, fixture.committed(group, topic)[0].offset)
    end)
  end

  it("closes as run{ close } says, and one that timed out is no success", function()
    local child = spawn_held(PROGRAM .. [[
      local report, message, code, last = open "":run { close = { timeout = 1 } }
      print(report, message, code)
      show(last)
    ]])
    child:signal "TERM"
    assert.equal(0, child:wait(20), child:errors())
    child:says "nil\t1 record unfinished after 1 s\tTIMED_OUT"
    child:says "done 1 unfinished 1 detached true"
  end)

  it("that comes a second time does not wait for a handler", function()
    local child = spawn_held(RUN)
    child:signal "TERM"
    has_heard(child)
    child:signal "TERM"
    local seconds, status = helper.seconds(child.wait, child, 40)
    assert.equal(0, status, child:errors())
    child:says "done 1 unfinished 1 detached true"
    assert.is_true(seconds < 5 + helper.late, ("it took %.1f s"):format(seconds))
    assert.equal(1, fixture.committed(group, topic)[0].offset)
  end)

  it("ends run() while handlers load, and leaves behind what does not end", function()
    local child = spawn([[
      local strand = require "strand"
      local bootstrap, group, topic, folder = (table.unpack or unpack)(arg)
      local consumer = assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = bootstrap, ["group.id"] = group }, topics = { topic },
        workers = 1, handler = "spec.handlers.slow_start", handler_args = folder })
      local _, message, code, report = consumer:run { close = { timeout = 1 } }
      print(message, code, report.detached)
    ]])
    helper.eventually(30, function() return helper.read(folder .. "/begun") end)
    child:signal "TERM"
    assert.equal(0, child:wait(20), child:errors())
    child:says "TIMED_OUT\ttrue"
  end)

  it("is the program's own again after run()", function()
    local child = spawn(PROGRAM .. [[
      local consumer = open ""
      show(assert(consumer:run { every = 0.01, tick = function() consumer:stop() end }))
      print "alone"
      while true do end
    ]])
    child:says "alone"
    child:signal "TERM"
    assert.equal(128 + 15, child:wait(5))
  end)

  it("ends all consumers of strand.run", function()
    fixture.produce(topic, { { key = "a" } })
    local child = spawn(PROGRAM .. [[
      local reports = assert(strand.run(open "1", open "2"))
      show(reports[1])
      show(reports[2])
    ]])
    helper.eventually(30, function() return fixture.count(folder, "leave", 0) == 2 end)
    child:signal "TERM"
    assert.equal(0, child:wait(10), child:errors())
    local line = "done 1 unfinished 0 detached false\n"
    child:says(line .. line)
  end)
end)

describe("while a consumer runs,", function()
  local topic, folder, consumer
  local events = {}

  setup(function()
    fixture.open()
    topic, folder = helper.topic(1), fixture.folder()
    consumer = fixture.start(fixture.consumer { topics = { topic }, handler_args = folder, workers = 1,
      commit_interval = 3600, on_event = function(event) events[#events + 1] = event end })
  end)
  teardown(fixture.close)

  local function held()
    return fixture.count(folder, "enter") - fixture.count(folder, "leave")
  end

  -- How many are done, once all that have left their handlers are counted:
  -- statistics are up to a quarter of a second old.
  local function done_of_all()
    local stats = consumer:stats()
    return stats.done + stats.failed == fixture.count(folder, "leave") and stats.done
  end

  it("configure starts workers, and as many handlers run at once", function()
    local records = {}
    for i = 1, 8 do records[i] = { key = "k" .. i, value = "gate many" } end
    fixture.produce(topic, records)
    helper.eventually(10, function() return held() == 1 end, consumer)
    assert.is_true(consumer:configure { workers = 4 })
    helper.eventually(10, function() return held() == 4 end, consumer)
    assert.equal(4, consumer:stats().workers)
  end)

  it("configure raises max_in_flight only as far as there are workers", function()
    assert.is_true(consumer:configure { workers = 8, max_in_flight = 6 })
    helper.eventually(10, function() return held() == 6 end, consumer)
    helper.eventually(10, function() return consumer:stats().workers == 8 end, consumer)
    assert.equal(6, held())
  end)

  it("configure lets workers go when their handlers have returned", function()
    fixture.release(folder, "many")
    helper.eventually(10, function() return consumer:stats().done == 8 end, consumer)
    assert.is_true(consumer:configure { workers = 2 })
    helper.eventually(10, function() return consumer:stats().workers == 2 end, consumer)
  end)

  -- Records of one key behind one that is held.
  local function produce_behind(value)
    local records = { { key = value, value = value } }
    for i = 2, 30 do records[i] = { key = value } end
    fixture.produce(topic, records)
  end

  it("configure bounds what is read while a handler takes its time", function()
    local done = consumer:stats().done
    assert.is_true(consumer:configure { max_buffered_records = 5 })
    produce_behind "gate bound"
    local most = 0
    local function buffered()
      local stats = consumer:stats()
      most = math.max(most, stats.buffered_records)
      return stats.buffered_records
    end
    helper.eventually(10, function() return buffered() == 5 end, consumer)
    helper.eventually(1, fixture.pause(0.5), consumer)
    assert.equal(5, buffered())
    assert.is_true(consumer:configure { max_buffered_records = 1000 })
    helper.eventually(10, function() return buffered() == 30 end, consumer)
    assert.equal(30, most)
    fixture.release(folder, "bound")
    helper.eventually(10, function() return consumer:stats().done == done + 30 end, consumer)
  end)

  it("configure bounds what waits for a retry, with events when it is full and when not", function()
    local done = consumer:stats().done
    local function told(type)
      return function()
        for _, event in ipairs(events) do
          if event.type == type and event.topic == topic then return event end
        end
      end
    end
    assert.is_true(consumer:configure { max_waiting_records = 5,
      retry = { delay = 3600, max_delay = 3600 } })
    produce_behind "fail 1"
    local event = helper.eventually(10, told "partition_blocked", consumer)
    assert.same({ 0, "waiting" }, { event.partition, event.reason })
    assert.is_nil(event.attempt) -- nothing was attempted
    assert.equal("waiting", consumer:assignment()[1].blocked)
    fixture.produce(topic, { { key = "another" } }) -- not read: the partition is closed
    helper.eventually(1, fixture.pause(0.5), consumer)
    assert.equal(done, consumer:stats().done)
    assert.is_nil(told "partition_unblocked"())
    assert.is_true(consumer:stats().waiting_records <= 5)
    assert.is_true(consumer:configure { max_waiting_records = 1000 })
    helper.eventually(10, told "partition_unblocked", consumer)
    helper.eventually(10, function() return consumer:stats().done == done + 1 end, consumer)
    assert.is_nil(consumer:assignment()[1].blocked)
  end)

  it("configure commits as often as it is told from then on", function()
    -- A handler in flight: no commit on idle.
    fixture.produce(topic, { { key = "x" }, { key = "y", value = "gate busy" } })
    helper.eventually(10, function() return held() == 1 end, consumer)
    local commits = consumer:stats().commits
    assert.is_true(consumer:configure { commit_interval = 0.1 })
    helper.eventually(3, function() return consumer:stats().commits > commits end, consumer)
    fixture.release(folder, "busy")
  end)

  it("pause lets what runs end, and starts no more until resume", function()
    for _, what in ipairs { { topic = topic }, { topic = topic, partition = 0 }, false } do
      local entered, gate = fixture.count(folder, "enter"), helper.name "gate"
      fixture.produce(topic, { { key = "p", value = "gate " .. gate } })
      helper.eventually(10, function() return fixture.count(folder, "enter") == entered + 1 end,
        consumer)
      assert.is_true(consumer:pause(what or nil))
      fixture.produce(topic, { { key = "p" }, { key = "q" } })
      fixture.release(folder, gate)
      helper.eventually(10, function() return held() == 0 end, consumer)
      helper.eventually(1, fixture.pause(0.3), consumer)
      assert.equal(entered + 1, fixture.count(folder, "enter"))
      assert.is_true(consumer:assignment()[1].paused)
      assert.is_true(consumer:resume(what or nil))
      helper.eventually(10, function() return fixture.count(folder, "leave") == entered + 3 end,
        consumer)
      helper.eventually(5, function() return not consumer:assignment()[1].paused end, consumer)
    end
  end)

  -- Nothing but the end moves: it was told as of the last other change.
  it("tells how the lag of a paused partition grows", function()
    local done = helper.eventually(10, done_of_all, consumer)
    assert.is_true(consumer:pause())
    for _ = 1, 3 do
      local place = helper.eventually(5, function()
        local it = consumer:assignment()[1]
        return it.paused and it.end_offset == fixture.end_of(topic) and it
      end, consumer)
      fixture.produce(topic, { { key = "p" } })
      helper.eventually(10, function()
        local it = consumer:assignment()[1]
        return it.end_offset == place.end_offset + 1 and it.true_lag == place.true_lag + 1
      end, consumer)
    end
    assert.is_true(consumer:resume())
    helper.eventually(10, function() return consumer:stats().done == done + 3 end, consumer)
  end)

  it("is idle since the last record ended, however short that was", function()
    for _ = 1, 3 do
      local done = consumer:stats().done
      helper.eventually(5, function() return consumer:stats().idle > 1 end, consumer)
      fixture.produce(topic, { { key = "p" } })
      helper.eventually(10, function() return consumer:stats().done == done + 1 end, consumer)
      assert.is_true(consumer:stats().idle < 1)
    end
  end)

  it("configure raises for what cannot be changed, naming it", function()
    raises("option 'ordering': cannot be changed while the consumer runs",
      consumer.configure, consumer, { ordering = "partition" })
    raises("option 'wrokers'", consumer.configure, consumer, { wrokers = 3 })
  end)
end)

describe("events and log lines", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("are kept when nobody steps, the last 1,024, and the others counted", function()
    local topic, folder = helper.topic(1), fixture.folder()
    fixture.produce(topic, { { key = "k", value = "fail 1500" } })
    local events = {}
    local consumer = fixture.consumer { topics = { topic }, handler_args = folder,
      retry = { attempts = 2000, delay = 0, max_delay = 0 },
      on_event = function(event) events[#events + 1] = event end }
    assert(consumer:start())
    helper.eventually(30, function() return consumer:stats().done == 1 end)
    while consumer:step(0) > 0 do end
    assert.equal(1024, #events)
    local attempts = {}
    for _, event in ipairs(events) do
      assert.equal("record_failed", event.type)
      attempts[#attempts + 1] = event.attempt
    end
    for i = 2, #attempts do assert.equal(attempts[i - 1] + 1, attempts[i]) end
    assert.equal(1500, attempts[#attempts])
    -- Assigned, restored, and the first failures.
    assert.equal(2 + 1500 - 1024, consumer:stats().events_dropped)
    assert.equal(1500, assert(consumer:close()).failed)
  end)

  it("come from librdkafka too, and never show a password", function()
    local lines = {}
    local consumer = fixture.consumer { topics = { helper.topic(1) },
      kafka = { debug = "all", ["sasl.username"] = "reader", ["sasl.password"] = "hunter2",
        ["ssl.key.password"] = "hunter3" },
      log = function(level, facility, message)
        assert.is_true(level >= 0 and level <= 7)
        lines[#lines + 1] = facility .. " " .. message
      end }
    fixture.start(consumer)
    assert(consumer:close())
    assert.is_true(#lines > 100)
    local text = table.concat(lines, "\n")
    assert.matches("CGRPJOIN", text, 1, true)
    assert.is_nil(text:find("hunter", 1, true))
  end)
end)
