-- What handlers produce: when it is sent, in which order, and what of their
-- records waits for it. Topics that are not there, limits of a broker, rebalances
-- and crashes: spec/kafka/outputs_spec.lua.
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"
local strand = require "strand"

local RETRY = { attempts = 3, delay = 0.01, jitter = 0 }
local AWAY = 2 -- the broker that has the topics of outputs that have to wait

local function count(events, type, fields)
  local n, last = 0, nil
  for _, event in ipairs(events) do
    local same = event.type == type
    for name, value in pairs(fields or {}) do same = same and event[name] == value end
    if same then n, last = n + 1, event end
  end
  return n, last
end

local function values(list)
  local all = {}
  for i, letter in ipairs(list) do all[i] = letter.value or "nil" end
  return table.concat(all, " ")
end

-- A consumer of a topic of its own, whose handler produces to another.
local function scene(options, records, outputs)
  local this = { topic = helper.topic(1), out = helper.topic(outputs or 1), events = {},
    group = helper.name "group", folder = fixture.folder() }
  options.topics, options.kafka = { this.topic }, { ["group.id"] = this.group }
  options.handler = options.handler or "spec.handlers.producing"
  options.handler_args = { folder = this.folder, out = this.out }
  options.retry = options.retry or RETRY
  options.producer = options.producer or {}
  options.commit_interval = 0.05
  options.on_event = function(event) table.insert(this.events, event) end
  options.log = function() end
  assert(helper.mock():coordinator(this.group, 1)) -- the client asks at once
  assert(helper.mock():leader(this.topic, 0, 1))
  this.consumer = fixture.consumer(options)
  fixture.produce(this.topic, records)
  this.sent = #records
  return this
end

local function committed(this)
  local place = fixture.committed(this.group, this.topic)[0]
  return place and place.offset or 0
end

local function records_of(n, value)
  local list = {}
  for i = 1, n do list[i] = { key = "hot", value = value or "copy" } end
  return list
end

modes.each(describe, "what a handler produces", function(mode)
  local scenes, reader, book = {}, nil, nil

  local function all()
    local list = { reader }
    for _, this in pairs(scenes) do list[#list + 1] = this.consumer end
    return (table.unpack or unpack)(list)
  end

  -- The outputs, once there are so many and all records of the source are done.
  local function outputs(this, n)
    local list = book:wait(20, this.out, n, all())
    helper.eventually(20, function() return committed(this) >= this.sent end, all())
    return list
  end

  setup(function()
    fixture.open(mode)
    scenes.exact = scene({}, { { key = "a", value = "like all" }, { key = "a", value = "like map" },
      { key = "a", value = "like nulls" }, { key = "a", value = "like empty" } }, 3)
    scenes.hashed = scene({}, { { key = "a", value = "like hashed" } }, 7)
    scenes.failing = scene({}, { { key = "a", value = "copy 2;fail 1" },
      { key = "b", value = "copy;retry 1" }, { key = "c", value = "copy" } })
    scenes.ends = scene({ exhausted = "skip" }, { { key = "a", value = "copy;end skip" },
      { key = "b", value = "copy;fail 3" }, { key = "c", value = "copy" } })
    scenes.order = scene({ workers = 8, producer = { kafka = {
      ["queue.buffering.max.messages"] = 7, ["linger.ms"] = 1 } } }, records_of(300))
    scenes.misuse = scene({ retry = { attempts = 1 }, exhausted = "skip", max_staged_bytes = 5000,
      producer = { kafka = { ["message.max.bytes"] = 2000 } } }, { { key = "a", value = "misuse" } })
    scenes.much = scene({ retry = { attempts = 1 }, exhausted = "skip", max_staged_bytes = 5000 },
      { { key = "a", value = "large 6000" }, { key = "a", value = "copy" } })
    scenes.batch = scene({ batch = { size = 3, linger = 1, by = "partition" } },
      { { key = "a" }, { key = "b", value = "fail" }, { key = "c", value = "skip" } })
    scenes.refused = scene({ exhausted = "park" }, { { key = "a", value = "place 9" },
      { key = "a", value = "copy" } })
    scenes.known = scene({ workers = 1, retry = { attempts = 2, delay = 0.01, jitter = 0 },
      exhausted = "skip" }, { { key = "a", value = "copy" }, { key = "b", value = "gate known" },
      { key = "b", value = "copy;place 9" }, { key = "b", value = "place 0" } })
    scenes.letter = scene({ dead_letter = { topic = helper.topic(1) } },
      { { key = "a", value = "copy;place 9;copy" } })
    local options
    local topics = {}
    for _, this in pairs(scenes) do topics[#topics + 1] = this.out end
    options, book = letters.reader(topics)
    reader = fixture.consumer(options)
    fixture.start(all())
  end)
  teardown(fixture.close)

  it("arrives as it was given", function()
    local list = outputs(scenes.exact, 4)
    local by_value = {}
    for _, letter in ipairs(list) do by_value[#letter.headers .. (letter.value or "nil")] = letter end
    local whole = by_value["3v\0\1"]
    assert.equal(2, whole.partition)
    assert.equal("k\0\255", whole.key)
    assert.equal(1.5, whole.timestamp)
    assert.same({ { "b", "1" }, { "a" }, { "b", "" } }, whole.headers)
    assert.equal("1", by_value["1nil"].header.one)
    assert.is_nil(by_value["0nil"].key)
    assert.equal("", by_value["0"].key)
    assert.equal("", by_value["0"].value)
  end)

  -- The last of these events, once there are so many.
  local function told(this, type, n, fields)
    helper.eventually(10, function() return count(this.events, type, fields) >= n end, all())
    return select(2, count(this.events, type, fields))
  end

  it("goes where its partition_key says, as producer:send places it", function()
    local this = scenes.hashed
    local producer = assert(strand.producer { kafka = {
      ["bootstrap.servers"] = helper.bootstrap() }, topics = { this.out } })
    local report = assert(producer:send_wait { topic = this.out, key = "elsewhere" })
    producer:close()
    for _, letter in ipairs(outputs(this, 2)) do assert.equal(report.partition, letter.partition) end
  end)

  it("is sent of the attempt that was done, and of none that failed", function()
    assert.equal("0/2/1 0/2/2 1/2/1 2/1/1", (function(list)
      table.sort(list, function(a, b) return a.value < b.value end)
      return values(list)
    end)(outputs(scenes.failing, 4)))
  end)

  it("is not sent when the record is skipped or given up", function()
    assert.equal("2/1/1", values(outputs(scenes.ends, 1)))
    local stats
    helper.eventually(10, function()
      stats = scenes.ends.consumer:stats()
      return stats.skipped >= 2
    end, all())
    assert.equal(2, stats.skipped)
    assert.equal(1, stats.outputs_sent)
    assert.equal(0, stats.staged_bytes)
  end)

  it("keeps the order of its records, through a full queue too", function()
    local expected = {}
    for i = 1, 300 do expected[i] = ("%d/1/1"):format(i - 1) end
    assert.equal(table.concat(expected, " "), values(outputs(scenes.order, 300)))
    assert.equal(300, scenes.order.consumer:stats().outputs_acknowledged)
  end)

  it("is checked by the rules of producer:send, and against what is known", function()
    local event = told(scenes.misuse, "record_failed", 1)
    local place = "^[^\n]*"
    local lines = {}
    for line in event.reason:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.matches(place .. "produce is a method: call it with a colon", lines[1])
    local expected = { false,
      "table expected, got nil", "unknown option 'vlaue' %(did you mean 'value'%?%)",
      "option 'topic': 'a topic' is no name of a topic", "option 'topic': required",
      "option 'key': string expected, got 7", "option 'partition': whole number from 0",
      "option 'headers%[1%]': string expected, got 1", "unknown option 'timeout'",
      "the record is larger than 'message.max.bytes' %(2000%)" }
    for i = 2, #expected do assert.matches(expected[i], lines[i]) end
  end)

  it("raises when a record produces more than may be staged", function()
    assert.equal("1/1/1", values(outputs(scenes.much, 1)))
    local event = told(scenes.much, "record_failed", 1)
    assert.matches("the record has produced more than 'max_staged_bytes' %(5000%)", event.reason)
  end)

  it("raises for a partition that its topic is known not to have", function()
    local this = scenes.known
    book:wait(10, this.out, 1, all())
    fixture.release(this.folder, "known")
    assert.equal("0/1/1 placed", values(outputs(this, 2)))
    local event = told(this, "record_failed", 2, { offset = 2 })
    assert.matches("it has 1 partitions, and none is 9", event.reason)
    assert.equal(2, this.consumer:stats().outputs_sent)
  end)

  it("belongs, in a batch, to its record", function()
    local list = outputs(scenes.batch, 2)
    assert.equal("0/1 1/2", values(list))
    assert.equal(1, scenes.batch.consumer:stats().skipped)
  end)

  it("ends its record by 'exhausted' when it is refused, and not those behind it", function()
    local this = scenes.refused
    helper.eventually(10, function() return count(this.events, "parked") == 1 end, all())
    book:wait(10, this.out, 1, all())
    local _, event = count(this.events, "record_failed")
    assert.equal(0, event.offset)
    assert.matches("output to topic '.-' refused: .*nknown partition", event.reason)
    assert.equal(1, fixture.count(this.folder, "enter", 0)) -- no attempt for it
    helper.eventually(10, function() -- what stats() says may come after the event
      local stats = this.consumer:stats()
      return stats.outputs_failed == 1 and stats.parked == 1
    end, all())
    assert.equal(0, committed(this))
    assert.is_true(this.consumer:resolve(this.consumer:parked()(), "discard"))
    helper.eventually(10, function() return committed(this) >= 2 end, all())
  end)

  it("makes a dead letter of its record, after what was sent of it", function()
    local this = scenes.letter
    helper.eventually(10, function()
      return count(this.events, "dead_lettered") == 1 and committed(this) >= 1
    end, all())
    local _, event = count(this.events, "dead_lettered")
    assert.matches("refused", event.reason)
    assert.matches("^0/1/1", values(book:list(this.out)))
    assert.equal(1, fixture.count(this.folder, "enter"))
  end)
end)

modes.each(describe, "an output that is not acknowledged", function(mode)
  local waits, full, closed, mixed
  local function all()
    return waits.consumer, full.consumer, mixed.consumer
  end

  setup(function()
    fixture.open(mode)
    helper.open_mock(AWAY)
    -- Before anybody is open: librdkafka asks no second time, for minutes, for the metadata that it
    -- wants from a broker that goes at that moment.
    assert(helper.mock():down(AWAY))
    waits = scene({ workers = 1 }, records_of(20))
    full = scene({ workers = 4, max_staged_bytes = 20000 }, records_of(200, "large 1000"))
    closed = scene({ workers = 1 }, records_of(3))
    mixed = scene({ workers = 1, producer = { kafka = { ["linger.ms"] = 200 } } },
      records_of(20, "gate mixed;copy"))
    local mock = helper.mock()
    for _, this in ipairs { waits, full, closed, mixed } do
      assert(mock:leader(this.out, 0, this == mixed and 1 or AWAY))
    end
    fixture.start(closed.consumer, all())
  end)
  teardown(fixture.close)

  it("holds its record's offset, and not its key", function()
    helper.eventually(20, function()
      return fixture.count(waits.folder, "leave") == 20 and waits.consumer:stats().sending == 20
    end, all())
    assert.equal(0, committed(waits))
    local blockers = waits.consumer:blockers(3)
    assert.equal("sending", blockers[1].state)
    assert.equal(0, waits.consumer:stats().done)
    assert.equal(20, waits.consumer:stats().outputs_sent)
  end)

  it("counts in max_staged_bytes, above which nothing starts", function()
    helper.eventually(20, function()
      return full.consumer:stats().staged_bytes >= 20000
    end, all())
    local entered = fixture.count(full.folder, "enter")
    helper.eventually(5, fixture.pause(0.5), all())
    assert.equal(entered, fixture.count(full.folder, "enter"))
    assert.is_true(entered < 30)
    assert.is_true(full.consumer:stats().staged_bytes < 20000 + 4 * 2000)
  end)

  it("is waited for by a close, and then its record is unfinished", function()
    helper.eventually(20, function() return closed.consumer:stats().sending == 3 end,
      closed.consumer, all())
    local report, _, code = closed.consumer:close { timeout = 1 }
    assert.is_nil(report)
    assert.equal("TIMED_OUT", code)
    report = closed.consumer:report()
    assert.equal(3, report.unfinished_total)
    assert.equal("sending", report.unfinished[1].state)
    assert.equal(3, report.outputs_sent)
    assert.equal(0, report.outputs_acknowledged)
    assert.equal(0, committed(closed))
  end)

  it("is sent alone when its batch was refused, and the others with it", function()
    assert(helper.mock():fail("Produce", "MSG_SIZE_TOO_LARGE", 1))
    fixture.release(mixed.folder, "mixed")
    helper.eventually(20, function() return committed(mixed) >= 20 end, all())
    local n, event = count(mixed.events, "error", { code = "MSG_SIZE_TOO_LARGE" })
    assert.equal(1, n)
    assert.matches("each is sent again alone", event.reason)
    helper.eventually(10, function() return mixed.consumer:stats().done == 20 end, all())
    assert.equal(20, mixed.consumer:stats().outputs_acknowledged)
  end)

  it("goes on when it is acknowledged: there is no dead end", function()
    assert(helper.mock():up(AWAY))
    helper.eventually(30, function()
      return committed(waits) >= 20 and committed(full) >= 200
    end, all())
    assert.equal(0, full.consumer:stats().staged_bytes)
    assert.equal(200, full.consumer:stats().outputs_acknowledged)
    assert.equal(200, fixture.count(full.folder, "enter"))
  end)
end)
