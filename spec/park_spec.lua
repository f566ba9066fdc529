-- Records that were given up stay where they are: listed, never committed,
-- and up to whoever looks after them. On real brokers: spec/kafka/park_spec.lua.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

local FOREVER = { attempts = 2, delay = 0, max_delay = 0 }

local function list(consumer)
  local found = {}
  for record in assert(consumer:parked()) do found[#found + 1] = record end
  return found
end

local function offsets(consumer)
  local found = {}
  for i, record in ipairs(list(consumer)) do found[i] = record.offset end
  return found
end

-- Consumers of a describe: they join together, and tell what they are told.
local function scenes()
  local self = { events = {}, names = {} }

  function self.add(name, options, records, partitions)
    local this = { topic = helper.topic(partitions or 1), group = helper.name "group",
      folder = fixture.folder(), events = {} }
    fixture.produce(this.topic, records)
    options.topics, options.handler_args = { this.topic }, this.folder
    options.kafka = { ["group.id"] = this.group }
    options.commit_interval, options.retry = 3600, options.retry or FOREVER
    options.on_event = function(event) table.insert(this.events, event) end
    this.options, this.consumer = options, fixture.consumer(options)
    self[name], self.names[#self.names + 1] = this, name
  end

  function self.start()
    local consumers = {}
    for i, name in ipairs(self.names) do consumers[i] = self[name].consumer end
    fixture.start((table.unpack or unpack)(consumers))
  end

  return self
end

local function parked(this, count)
  helper.eventually(20, function() return this.consumer:stats().parked == count end, this.consumer)
  return this.consumer, this
end

local function seen(this, type, offset)
  for _, event in ipairs(this.events) do
    if event.type == type and (not offset or event.offset == offset) then return event end
  end
end

local function wait_done(this, count)
  helper.eventually(20, function() return this.consumer:stats().done == count end, this.consumer)
end

local function fails(message, code, ...)
  local ok, got, got_code = ...
  assert.is_nil(ok)
  assert.matches(message, got, 1, true)
  assert.equal(code, got_code)
end

local BINARY = "a\0\255b"

modes.each(describe, "a parked record", function(mode)
  local all = scenes()

  setup(function()
    fixture.open(mode)
    all.add("shown", {}, {
      { key = BINARY, value = "park asked", headers = { { "h", "1" }, { "none" }, { "h", BINARY } } },
      { key = BINARY }, { key = "free" }, { value = "fail 99" },
    })
    all.add("again", {}, { { key = "a", value = "park first 1" }, { key = "a" }, { key = "b" } })
    all.add("attempts", { retry = { attempts = 3, delay = 0, max_delay = 0 } },
      { { key = "a", value = "fail 99" } })
    all.add("away", {}, { { key = "a", value = "park for-good" }, { key = "a" }, { key = "b" } })
    all.add("loose", { parked_holds = "record" },
      { { key = "a", value = "park first 1" }, { key = "a" }, { key = "a" }, { key = "b" } })
    all.add("line", { ordering = "partition" },
      { { key = "a", value = "park first 1" }, { key = "b" } })
    all.add("loose line", { ordering = "partition", parked_holds = "record" },
      { { key = "a", value = "park first 1" }, { key = "b" } })
    all.add("unordered", { ordering = "unordered" },
      { { key = "a", value = "park first 1" }, { key = "a" } })
    all.start()
  end)
  teardown(fixture.close)

  it("is listed with all that it is, and why it is there", function()
    local consumer, this = parked(all.shown, 2)
    local records = list(consumer)
    assert.equal(2, #records)
    local asked, failed = records[1], records[2]
    assert.same({ this.topic .. "/0/0", this.topic, 0, 0, BINARY, "park asked", 1, 1, "asked" },
      { asked.id, asked.topic, asked.partition, asked.offset, asked.key, asked.value, asked.attempt,
        asked.attempts, asked.reason })
    assert.same({ { "h", "1" }, { "none" }, { "h", BINARY } }, asked.headers)
    assert.equal("create", asked.timestamp_type)
    assert.same({ 3, nil, "fail 99", 2, 2, "attempt 2 fails" }, { failed.offset, failed.key,
      failed.value, failed.attempt, failed.attempts, failed.reason })
    for _, record in ipairs(records) do
      for _, name in ipairs { "timestamp", "first_failure", "last_failure", "since" } do
        assert.is_true(math.abs(record[name] - os.time()) < 120, name)
      end
      assert.is_true(record.first_failure <= record.last_failure)
      assert.is_true(record.last_failure <= record.since)
    end
  end)

  it("is an event, a blocker and a number, and holds back its key alone", function()
    local consumer, this = parked(all.shown, 2)
    wait_done(this, 1)
    assert.same({ 0, "asked", BINARY }, { seen(this, "parked", 0).partition,
      seen(this, "parked", 0).reason, seen(this, "parked", 0).key })
    assert.equal("attempt 2 fails", seen(this, "parked", 3).reason)
    local states = helper.eventually(5, function()
      local found = {}
      for _, blocker in ipairs(consumer:blockers()) do
        found[#found + 1] = ("%d %s %s"):format(blocker.offset, blocker.state, blocker.reason or "")
      end
      table.sort(found)
      return #found == 3 and found
    end, consumer)
    assert.same({ "0 parked asked", "1 behind ", "3 parked attempt 2 fails" }, states)
    local stats = consumer:stats()
    assert.same({ 2, 2, 3, 1 }, { stats.parked, stats.partitions[1].parked, stats.waiting_records,
      stats.partitions[1].highest_done == 2 and 1 })
    assert.same({ 1, 2, 0, 0 }, { consumer:report().done, consumer:report().parked,
      consumer:report().skipped, consumer:report().dead_lettered })
    assert.equal(0, fixture.count(this.folder, "enter", 1))
  end)

  it("that is retried runs again, and then those behind it", function()
    local consumer, this = parked(all.again, 1)
    wait_done(this, 1)
    assert.is_true(consumer:resolve(list(consumer)[1], "retry"))
    wait_done(this, 3)
    local order = {}
    for _, line in ipairs(fixture.journal(this.folder)) do
      if line.what == "enter" and line.key == "a" then
        order[#order + 1] = line.offset .. "/" .. line.attempt
      end
    end
    assert.same({ "0/1", "0/2", "1/1" }, order)
    assert.is_true(consumer:commit())
    assert.equal(3, fixture.committed(this.group, this.topic)[0].offset)
  end)

  it("that is retried has all its attempts again", function()
    local consumer, this = parked(all.attempts, 1)
    assert.is_true(consumer:resolve(this.topic .. "/0/0", "retry"))
    helper.eventually(10, function()
      local records = list(consumer)
      return records[1] and records[1].attempts == 6
    end, consumer)
    helper.eventually(5, function() return consumer:stats().failed == 6 end, consumer)
  end)

  it("that is discarded is done, skipped, and committed", function()
    local consumer, this = parked(all.away, 1)
    wait_done(this, 1)
    assert.is_true(consumer:commit())
    local committed = fixture.committed(this.group, this.topic)[0]
    assert.equal(0, committed.offset)
    assert.same({ { 0, 1 } }, committed.decoded.incomplete)
    assert.is_true(consumer:resolve({ topic = this.topic, partition = 0, offset = 0 }, "discard"))
    wait_done(this, 2)
    assert.same({ 0, 1 }, { consumer:stats().parked, consumer:stats().skipped })
    assert.equal(1, fixture.count(this.folder, "enter", 0))
    assert.is_true(consumer:commit())
    assert.equal(3, fixture.committed(this.group, this.topic)[0].offset)
    assert.equal(1, consumer:report().skipped)
  end)

  it("that is none, is not here or has no topic to go to is refused", function()
    local consumer, this = parked(all.shown, 2)
    fails("it is not parked", "NOT_PARKED", consumer:resolve(this.topic .. "/0/1", "retry"))
    fails("it is not parked", "NOT_PARKED", consumer:resolve(this.topic .. "/0/99", "discard"))
    fails("partition 7 of", "NOT_ASSIGNED", consumer:resolve(this.topic .. "/7/0", "retry"))
    fails("partition 0 of", "NOT_ASSIGNED", consumer:resolve("elsewhere/0/0", "retry"))
    fails("option 'dead_letter.topic'", "NO_DEAD_LETTER_TOPIC",
      consumer:resolve(this.topic .. "/0/0", "dead_letter"))
    assert.same({ 0, 3 }, offsets(consumer))
  end)

  for name, behind in pairs { loose = 3, ["loose line"] = 1, unordered = 1 } do
    it("lets those behind it go on where it holds but itself: " .. name, function()
      local consumer, this = parked(all[name], 1)
      wait_done(this, behind)
      assert.same({ 0 }, offsets(consumer))
      assert.is_true(consumer:commit())
      assert.equal(0, fixture.committed(this.group, this.topic)[0].offset)
      assert.is_true(consumer:resolve(list(consumer)[1], "retry"))
      wait_done(this, behind + 1)
      assert.same({}, offsets(consumer))
      assert.is_true(consumer:commit())
      assert.equal(behind + 1, fixture.committed(this.group, this.topic)[0].offset)
    end)
  end

  it("holds back its whole partition where that is the order", function()
    local consumer, this = parked(all.line, 1)
    assert.equal(0, consumer:stats().done)
    assert.is_true(consumer:resolve(list(consumer)[1], "retry"))
    wait_done(this, 2)
  end)

  it("is not waited for in close, and found again by the next of its group", function()
    local consumer, this = parked(all.shown, 2)
    local report = assert(consumer:close { timeout = 10 })
    assert.same({ 1, 2, 3 }, { report.done, report.parked, #report.unfinished })
    local states = {}
    for i, place in ipairs(report.unfinished) do states[i] = place.offset .. " " .. place.state end
    table.sort(states)
    assert.same({ "0 parked", "1 behind", "3 parked" }, states)
    this.options.on_event = nil
    this.consumer = fixture.start(fixture.consumer(this.options))
    parked(this, 2)
    assert.same({ 0, 3 }, offsets(this.consumer))
    assert.equal(2, fixture.count(this.folder, "enter", 0))
    assert.equal(1, fixture.count(this.folder, "enter", 2))
    assert.equal(0, fixture.committed(this.group, this.topic)[0].offset)
  end)
end)

modes.each(describe, "many parked records", function(mode)
  local all, big = scenes(), ("x"):rep(400000)

  local function times(count, value, partition)
    local records = {}
    for i = 1, count do
      records[i] = { key = "k" .. i, value = value, partition = partition and partition(i) }
    end
    return records
  end

  setup(function()
    fixture.open(mode)
    all.add("many", {}, times(600, "park each", function(i) return i % 3 end), 3)
    all.add("members", { members = 2 }, times(40, "park each", function(i) return i % 4 end), 4)
    all.add("large", {}, times(6, "park each;" .. big))
    local records = times(200, "park full", function() return 0 end)
    for i = 1, 200 do records[200 + i] = { key = "f" .. i, partition = 1 } end
    all.add("full", { max_waiting_records = 20, max_buffered_records = 20 }, records, 2)
    all.start()
  end)
  teardown(fixture.close)

  local function page(consumer, ...)
    local ticket = assert(consumer.core:parked_begin(...))
    return helper.eventually(10, function() return consumer.core:parked_done(ticket) end, consumer)
  end

  it("come in pages of so many records, and of so many bytes", function()
    local consumer, this = parked(all.many, 600)
    local first = page(consumer, 0, "", 0, 0)
    assert.equal(256, #first)
    local last = first[256]
    assert.equal(256, #page(consumer, 0, last.topic, last.partition, last.offset + 1))
    assert.equal(1, #page(consumer, 0, this.topic, 2, 199))
    assert.equal(0, #page(consumer, 0, this.topic, 2, 200))
    assert.equal(3, #page((parked(all.large, 6)), 0, "", 0, 0))
    assert.equal(6, #list(all.large.consumer))
  end)

  it("come from every member, each once and in order", function()
    local consumer = parked(all.members, 40)
    local found, last = {}, {}
    for _, record in ipairs(list(consumer)) do
      assert.is_nil(found[record.id])
      found[record.id] = true
      assert.is_true(record.offset > (last[record.partition] or -1))
      last[record.partition] = record.offset
    end
    assert.same({ [0] = 9, 9, 9, 9 }, last)
  end)

  it("may be resolved, and others parked, while they are looked at", function()
    local consumer, this = parked(all.many, 600)
    local count, found = 0, {}
    for record in consumer:parked() do
      count = count + 1
      assert.is_nil(found[record.id])
      found[record.id] = true
      assert.is_true(consumer:resolve(record, "discard"))
      if count == 100 then fixture.produce(this.topic, times(10, "park late")) end
    end
    assert.is_true(count >= 600 and count <= 610)
    helper.eventually(20, function()
      local stats = consumer:stats()
      return stats.skipped == count and stats.parked == 610 - count
    end, consumer)
  end)

  it("that fill the waiting budget close their own partition, with an event that names one",
    function()
      local consumer, this = all.full.consumer, all.full
      local event = helper.eventually(20, function()
        return seen(this, "partition_blocked")
      end, consumer)
      assert.same({ this.topic, 0, 0, "k1", "waiting" },
        { event.topic, event.partition, event.offset, event.key, event.reason })
      wait_done(this, 200) -- the other goes on
      helper.eventually(1, fixture.pause(0.5), consumer)
      local stats = consumer:stats()
      assert.equal(10, stats.waiting_records) -- its share
      -- And what was read before that was full: counted as buffered.
      assert.is_true(stats.parked >= 10 and stats.parked <= 30, stats.parked .. " are parked")
      assert.equal(stats.parked, stats.waiting_records + stats.buffered_records)
      assert.equal("waiting", stats.partitions[1].blocked or stats.partitions[2].blocked)
      assert.is_nil(seen(this, "partition_unblocked"))
      fixture.produce(this.topic, { { key = "more", partition = 1 } })
      wait_done(this, 201)
      helper.eventually(30, function()
        for record in consumer:parked() do assert.is_true(consumer:resolve(record, "discard")) end
        return consumer:stats().skipped == 200
      end, consumer)
      helper.eventually(10, function() return seen(this, "partition_unblocked") end, consumer)
      assert.is_true(consumer:commit())
      assert.equal(200, fixture.committed(this.group, this.topic)[0].offset)
    end)
end)

describe("looking after old records", function()
  local PARTITIONS = 60

  setup(fixture.open)
  teardown(fixture.close)

  it("keeps neither a seek nor an assignment waiting, however many partitions have some", function()
    local topic, records = helper.topic(PARTITIONS), {}
    for partition = 0, PARTITIONS - 1 do
      records[#records + 1] = { value = "fail 9", partition = partition }
    end
    fixture.produce(topic, records)
    local consumer = fixture.consumer { topics = { topic }, retry = { attempts = 1 },
      kafka = { ["fetch.wait.max.ms"] = 500 } } -- a question waits behind a fetch
    fixture.start(consumer)
    helper.eventually(20, function() return consumer:stats().parked == PARTITIONS end, consumer)
    local over = fixture.pause(13) -- they are old after 10 s
    while not over() do
      local seconds, ok = helper.seconds(consumer.seek, consumer,
        { topic = topic, partition = 0, offset = 1, timeout = 60 })
      assert.is_true(ok)
      assert.is_true(seconds < 5 + helper.late, ("%.1f s"):format(seconds))
      helper.eventually(2, fixture.pause(0.5), consumer)
    end
  end)
end)
