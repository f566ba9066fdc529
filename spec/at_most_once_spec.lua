-- delivery = "at_most_once": a record starts after a commit that covers it, once.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

local function records(count, values)
  local list = {}
  for i = 1, count do list[i] = { key = "k" .. i, value = values and values[i - 1] } end
  return list
end

modes.each(describe, "at most once", function(mode)
  local scenes = {}

  local function scene(name, options, list, folder, from)
    local this = { topic = from and from.topic or helper.topic(1),
      group = from and from.group or helper.name "group",
      folder = folder or fixture.folder(), events = {} }
    if list then fixture.produce(this.topic, list) end
    scenes[name] = this
    options.delivery = "at_most_once"
    options.topics, options.handler_args = { this.topic }, this.folder
    options.kafka = { ["group.id"] = this.group }
    options.on_event = function(event)
      this.events[event.type] = this.events[event.type] or {}
      table.insert(this.events[event.type], event)
    end
    this.consumer = fixture.consumer(options)
    return this.consumer
  end

  setup(function()
    fixture.open(mode)
    fixture.start(
      scene("plain", { workers = 4, commit_interval = 3600 }, records(3000)),
      scene("held", { workers = 2, commit_interval = 3600 },
        records(10, { [0] = "gate held;take 2", "gate held;take 2" })),
      scene("cut", { workers = 2, commit_interval = 3600 },
        records(10, { [0] = "gate never", "gate g" })),
      scene("final", { workers = 1 },
        records(6, { [0] = "fail 9", "retry 0.01", "park why", "skip no", "letter x" })),
      scene("batch", { workers = 2, handler = function(batch)
        for i = 1, #batch do
          if batch[i].value == "fail" then batch:fail(i, "bad") end
        end
      end, batch = { size = 50, by = "partition" } },
        records(500, { [3] = "fail", [250] = "fail" })),
      scene("sought", { workers = 2, commit_interval = 3600 },
        records(10, { [0] = "gate never", "gate g" })),
      scene("drain", { workers = 2, commit_interval = 3600 }, records(2500)))
  end)
  teardown(fixture.close)

  local function left(this, count)
    helper.eventually(20, function() return fixture.count(this.folder, "leave") == count end,
      this.consumer)
  end

  local function starts(folder)
    local seen, twice = {}, 0
    for _, line in ipairs(fixture.journal(folder)) do
      if line.what == "enter" then
        if seen[line.offset] then twice = twice + 1 end
        seen[line.offset] = true
      end
    end
    return seen, twice
  end

  it("handles each record once, and a commit covers it before", function()
    local this = scenes.plain
    left(this, 3000)
    local _, twice = starts(this.folder)
    assert.equal(0, twice)
    assert.equal(3000, fixture.committed(this.group, this.topic)[0].offset)
    assert.equal(0, assert(this.consumer:close()).lost)
  end)

  it("commits what runs before it ends", function()
    local this = scenes.held
    helper.eventually(10, function() return fixture.count(this.folder, "enter") == 2 end,
      this.consumer)
    assert.equal(10, fixture.committed(this.group, this.topic)[0].offset)
  end)

  it("goes back at a close to what has not started, and loses nothing", function()
    local this = scenes.held
    fixture.release(this.folder, "held")
    local report = assert(this.consumer:close { timeout = 20 })
    assert.equal(2, fixture.committed(this.group, this.topic)[0].offset)
    assert.same({ 2, 0, 8 }, { report.done, report.lost, #report.unfinished })
    fixture.start(scene("next", { workers = 2 }, nil, this.folder, this))
    left(scenes.next, 10)
    local _, twice = starts(this.folder)
    assert.equal(0, twice)
  end)

  it("loses what a close cuts off, says so, and does not run it again", function()
    local this = scenes.cut
    helper.eventually(10, function() return fixture.count(this.folder, "enter") == 2 end,
      this.consumer)
    fixture.release(this.folder, "g")
    left(this, 9)
    local report = select(4, this.consumer:close { timeout = 1 }) or this.consumer:report()
    assert.equal(1, report.lost)
    while this.consumer:step(0) or false do
      if this.events.records_lost then break end
    end
    local event = this.events.records_lost[1]
    assert.same({ 0, "1 started and did not end in time" }, { event.offset, event.reason })
    fixture.release(this.folder, "never")
    assert.equal(10, fixture.committed(this.group, this.topic)[0].offset)
  end)

  it("loses what runs below a seek, and says so; what runs above comes again", function()
    local this = scenes.sought
    helper.eventually(20, function() return fixture.count(this.folder, "enter") == 2 end,
      this.consumer)
    assert(this.consumer:seek { topic = this.topic, partition = 0, offset = 1 })
    helper.eventually(20, function() return this.events.records_lost end, this.consumer)
    local event = this.events.records_lost[1]
    assert.same({ 0, "1 started and did not end in time" }, { event.offset, event.reason })
    for _, gate in ipairs { "never", "g" } do fixture.release(this.folder, gate) end
    left(this, 11)
    local report = assert(this.consumer:close { timeout = 20 })
    assert.same({ 9, 1, 1 }, { report.done, report.lost, #this.events.records_lost })
  end)

  it("takes each failure as final", function()
    local this = scenes.final
    left(this, 6)
    helper.eventually(10, function() return #(this.events.record_failed or {}) == 3 end,
      this.consumer)
    local told = {}
    for _, event in ipairs(this.events.record_failed) do
      told[event.offset] = event.reason
      assert.is_nil(event.delay)
    end
    assert.same({ [0] = "attempt 1 fails", "retry(), under at_most_once", "why" }, told)
    local report = assert(this.consumer:close())
    assert.same({ 1, 3, 5, 0, 0 },
      { report.done, report.failed, report.skipped, report.parked, report.lost })
  end)

  it("gives no record of a batch to a second call", function()
    local this = scenes.batch
    helper.eventually(20, function()
      local s = this.consumer:stats()
      return s.done + s.skipped == 500
    end, this.consumer)
    local report = assert(this.consumer:close())
    assert.same({ 498, 2, 2, 0 }, { report.done, report.skipped, report.failed, report.lost })
  end)

  it("commits windows while it drains", function()
    local this = scenes.drain
    helper.eventually(10, function() return fixture.count(this.folder, "leave") > 10 end,
      this.consumer)
    local report = assert(this.consumer:close { mode = "drain", timeout = 20 })
    assert.equal(0, report.lost)
    local entry = fixture.committed(this.group, this.topic)[0]
    assert.equal(report.done, entry.offset)
    local _, twice = starts(this.folder)
    assert.equal(0, twice)
  end)
end)

describe("a commit that fails", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("keeps records from starting, until one succeeds", function()
    local topic, folder, failed = helper.topic(1), fixture.folder(), 0
    local mock, group = helper.mock(), helper.name "group"
    local consumer = fixture.start(fixture.consumer { topics = { topic }, handler_args = folder,
      kafka = { ["group.id"] = group }, delivery = "at_most_once", on_event = function(event)
        if event.type == "commit_failed" then failed = failed + 1 end
      end })
    mock:fail("OffsetCommit", "REQUEST_TIMED_OUT", 8)
    fixture.produce(topic, records(5))
    helper.eventually(30, function() return failed > 0 end, consumer)
    -- A busy machine looks late: a commit may have succeeded since.
    local entered = fixture.count(folder, "enter")
    assert.is_true(entered == 0 or fixture.committed(group, topic)[0] ~= nil, entered .. " started")
    helper.eventually(60, function() return fixture.count(folder, "leave") == 5 end, consumer)
    assert.equal(0, assert(consumer:close()).lost)
  end)
end)

describe("a commit that is to take back what has not started", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("and is refused at a close: that is lost, and told, as it is covered", function()
    local topic, folder, group, events = helper.topic(1), fixture.folder(), helper.name "group", {}
    fixture.produce(topic, records(10, { [0] = "gate g;take 2", "gate g;take 2" }))
    local consumer = fixture.start(fixture.consumer { topics = { topic }, handler_args = folder,
      kafka = { ["group.id"] = group }, delivery = "at_most_once", workers = 2,
      on_event = function(event)
        if event.type == "records_lost" then events[#events + 1] = event end
      end })
    helper.eventually(20, function() return fixture.count(folder, "enter") == 2 end, consumer)
    assert.equal(10, fixture.committed(group, topic)[0].offset)
    assert(helper.mock():fail("OffsetCommit", "TOPIC_AUTHORIZATION_FAILED", 100))
    fixture.release(folder, "g")
    consumer:close { timeout = 7 }
    local report = consumer:report()
    assert.same({ 2, 8, 8 }, { report.done, report.lost, #report.unfinished })
    helper.eventually(5, function()
      consumer:step(0)
      return #events > 0
    end)
    assert.same({ 2, "8 not started: taking back the commit that covers them was not acknowledged" },
      { events[1].offset, events[1].reason })
    assert.equal(10, fixture.committed(group, topic)[0].offset)
  end)
end)

modes.each(describe, "what a handler produces at most once", function(mode)
  local AWAY = 2 -- the broker of topics whose outputs have to wait
  local scenes = {}

  local function open(options, list, from)
    local this = { topic = from and from.topic or helper.topic(1), out = helper.topic(1),
      group = from and from.group or helper.name "group",
      folder = from and from.folder or fixture.folder(), events = {} }
    options.topics, options.kafka = { this.topic }, { ["group.id"] = this.group }
    options.delivery, options.handler = "at_most_once", "spec.handlers.producing"
    options.handler_args = { folder = this.folder, out = this.out }
    options.producer, options.log = {}, function() end
    options.on_event = function(event)
      this.events[event.type] = this.events[event.type] or {}
      table.insert(this.events[event.type], event)
    end
    assert(helper.mock():coordinator(this.group, 1)) -- the client asks at once
    assert(helper.mock():leader(this.topic, 0, 1))
    this.consumer = fixture.consumer(options)
    if list then fixture.produce(this.topic, list) end
    return this
  end

  local function hot(...)
    local list = {}
    for i = 1, select("#", ...) do list[i] = { key = "hot", value = (select(i, ...)) } end
    return list
  end

  local function all()
    local list = {}
    for _, this in pairs(scenes) do list[#list + 1] = this.consumer end
    return (table.unpack or unpack)(list)
  end

  setup(function()
    fixture.open(mode)
    helper.open_mock(AWAY)
    -- Before anybody is open: librdkafka asks no second time, for minutes, for the metadata that it
    -- wants from a broker that goes at that moment.
    assert(helper.mock():down(AWAY))
    scenes.refused = open({}, hot("place 9", "copy"))
    local letters = helper.topic(1)
    scenes.letter = open({ dead_letter = { topic = letters } }, hot("place 9", "copy"))
    scenes.cut = open({}, hot("copy", "copy"))
    scenes.waits = open({}, hot("copy", "copy"))
    local mock = helper.mock()
    for _, this in pairs(scenes) do
      local waits = this == scenes.cut or this == scenes.waits
      assert(mock:leader(this.out, 0, waits and AWAY or 1))
    end
    assert(mock:leader(letters, 0, 1))
    fixture.start(all())
  end)
  teardown(fixture.close)

  it("is refused: that is the end of its record, and told", function()
    local this = scenes.refused
    helper.eventually(20, function() return this.consumer:stats().done == 1 end, all())
    helper.eventually(20, function() return this.consumer:stats().skipped == 1 end, all())
    local event = helper.eventually(20, function()
      return this.events.record_failed and this.events.record_failed[1]
    end, all())
    assert.matches("output to topic '.-' refused: .*nknown partition", event.reason)
    assert.same({ 0 }, { event.offset, event.delay })
    local report = assert(this.consumer:close())
    scenes.refused = nil
    assert.same({ 1, 1, 0, 1 }, { report.failed, report.skipped, report.lost, report.done })
    assert.equal(2, fixture.count(this.folder, "enter"))
    assert.equal(2, fixture.committed(this.group, this.topic)[0].offset)
  end)

  it("is refused: with 'dead_letter' its record goes there", function()
    local this = scenes.letter
    helper.eventually(20, function() return this.consumer:stats().dead_lettered == 1 end, all())
    assert.equal(2, fixture.count(this.folder, "enter"))
    local report = assert(this.consumer:close())
    scenes.letter = nil
    assert.same({ 1, 1, 0 }, { report.done, report.dead_lettered, report.lost })
  end)

  it("is covered by a commit before it is sent; what a close cuts off is lost, and told",
    function()
      local this = scenes.cut
      helper.eventually(20, function() return this.consumer:stats().sending == 2 end, all())
      assert.equal(2, fixture.committed(this.group, this.topic)[0].offset)
      local report, _, code = this.consumer:close { timeout = 1 }
      assert.same({ nil, "TIMED_OUT" }, { report, code })
      report = this.consumer:report()
      assert.same({ 2, 0, 0 }, { report.lost, report.done, report.outputs_acknowledged })
      helper.eventually(5, function()
        this.consumer:step(0)
        return this.events.records_lost
      end)
      local event = this.events.records_lost[1]
      assert.same({ 0, "2 produced what was not acknowledged in time" },
        { event.offset, event.reason })
      assert.equal(2, fixture.committed(this.group, this.topic)[0].offset)
      scenes.cut = open({}, hot(""), this)
      fixture.start(scenes.cut.consumer)
      helper.eventually(20, function() return scenes.cut.consumer:stats().done == 1 end, all())
      assert.equal(3, fixture.count(this.folder, "enter")) -- those two never again
    end)

  it("is waited for by a close", function()
    local this = scenes.waits
    helper.eventually(20, function() return this.consumer:stats().sending == 2 end, all())
    assert(helper.mock():up(AWAY))
    local report = assert(this.consumer:close { timeout = 20 })
    scenes.waits = nil
    assert.same({ 0, 2, 2 }, { report.lost, report.done, report.outputs_acknowledged })
  end)
end)
