-- What the group is told is done, and that this is what was done: never
-- more, and in the end all of it.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

-- Records of different keys; some have a value, by their offset from here.
local function records(count, values, prefix)
  local list = {}
  for i = 1, count do
    list[i] = { key = (prefix or "k") .. i, value = values and values[i - 1] }
  end
  return list
end

-- Offsets that handlers entered, in order.
local function entered(folder)
  local offsets = {}
  for _, line in ipairs(fixture.journal(folder)) do
    if line.what == "enter" then offsets[#offsets + 1] = line.offset end
  end
  table.sort(offsets)
  return offsets
end

-- As somebody else would have done it.
local function commit_foreign(group, topic, offset, metadata)
  local program = helper.folder() .. "/commit"
  local function run(command)
    local ok = os.execute(command)
    assert(ok == true or ok == 0, command)
  end
  run("cc -o " .. program .. " spec/support/commit.c $(pkg-config --cflags --libs rdkafka)")
  run(("%s %s %s %s 0 %d '%s'"):format(program, helper.bootstrap(), group, topic, offset, metadata))
end

modes.each(describe, "delivery", function(mode)
  local scenes = {}

  local function scene(name, options, list)
    local this = { topic = helper.topic(1), folder = fixture.folder(), group = helper.name "group",
      events = {}, options = options }
    fixture.produce(this.topic, list)
    scenes[name] = this
    options.topics, options.handler_args = { this.topic }, this.folder
    options.kafka = { ["group.id"] = this.group }
    options.on_event = function(event)
      this.events[event.type] = event
    end
    this.consumer = fixture.consumer(options)
    return this.consumer
  end

  setup(function()
    fixture.open(mode)
    fixture.start(
      scene("open", { workers = 4, commit_interval = 0.1 }, records(10, { [3] = "gate g" })),
      scene("idle", { commit_interval = 3600 }, records(5)),
      scene("interval", { commit_interval = 0.3 }, records(5, { [4] = "gate g" })),
      scene("close", { commit_interval = 3600 }, records(5, { [2] = "gate g", [4] = "gate h" })),
      scene("failing", { commit_interval = 0.2 }, records(5, { [4] = "gate g" })),
      scene("no room", { workers = 4, max_metadata = 0, commit_interval = 0.1 },
        records(6, { [0] = "gate g", "gate g", "gate g", "gate g", "gate g", "gate g" }))
    )
  end)
  teardown(fixture.close)

  local function committed(name)
    return fixture.committed(scenes[name].group, scenes[name].topic)[0]
  end

  local function left(name, count)
    local this = scenes[name]
    helper.eventually(10, function() return fixture.count(this.folder, "leave") == count end,
      this.consumer)
    return this
  end

  it("never has a committed offset pass a record that is not done", function()
    local this = left("open", 9)
    for round = 1, 3 do
      local wanted = 9 + (round - 1) * 5
      local entry = helper.eventually(10, function()
        local found = committed "open"
        assert.is_true(found == nil or found.offset <= 3)
        return found and found.decoded and found.decoded.highest == wanted and found
      end, this.consumer)
      assert.equal(3, entry.offset)
      assert.same({ { 3, 3 } }, entry.decoded.incomplete)
      if round < 3 then fixture.produce(this.topic, records(5, nil, "more")) end
    end
  end)

  it("does not repeat in the next consumer what was done above the committed offset", function()
    local this = scenes.open
    local report = assert(this.consumer:close { mode = "now", timeout = 5 })
    assert.equal(19, report.done)
    local folder = fixture.folder()
    local second = fixture.start(fixture.consumer { topics = { this.topic }, handler_args = folder,
      kafka = { ["group.id"] = this.group } })
    fixture.release(folder, "g")
    fixture.produce(this.topic, records(2))
    helper.eventually(10, function() return fixture.count(folder, "leave") == 3 end, second)
    assert.same({ 3, 20, 21 }, entered(folder))
    assert(second:close())
    local entry = committed "open"
    assert.equal(22, entry.offset)
    assert.equal("", entry.metadata)
    fixture.release(this.folder, "g")
  end)

  it("commits when nothing is left to do, without waiting for the interval", function()
    local this = left("idle", 5)
    helper.eventually(3, function()
      local entry = committed "idle"
      return entry and entry.offset == 5
    end, this.consumer)
    assert.equal(5, this.consumer:stats().done)
  end)

  it("commits each interval while handlers run", function()
    local this = left("interval", 4)
    helper.eventually(3, function()
      local entry = committed "interval"
      return entry and entry.offset == 4
    end, this.consumer)
    assert.equal(1, this.consumer:stats().in_flight)
    fixture.release(this.folder, "g")
  end)

  it("commits in close what was done, and only that", function()
    local this = left("close", 3)
    fixture.release(this.folder, "g")
    left("close", 4)
    local _, _, code, report = this.consumer:close { timeout = 1 }
    assert.equal("TIMED_OUT", code)
    assert.is_true(report.detached) -- the last handler goes on
    assert.same({ { topic = this.topic, partition = 0, offset = 4 } }, report.committed)
    assert.equal(4, committed "close".offset)
    fixture.release(this.folder, "h")
  end)

  it("repeats a commit that failed, with an event", function()
    local this = left("failing", 4)
    helper.eventually(3, function()
      local entry = committed "failing"
      return entry and entry.offset == 4
    end, this.consumer)
    assert(helper.mock():fail("OffsetCommit", "UNKNOWN_SERVER_ERROR", 2))
    fixture.release(this.folder, "g")
    local event = helper.eventually(5, function() return this.events.commit_failed end,
      this.consumer)
    assert.equal("UNKNOWN", event.code)
    helper.eventually(5, function() return committed "failing".offset == 5 end, this.consumer)
    assert.is_true(this.consumer:stats().commits_failed >= 1)
    assert.is_true(this.consumer:health())
  end)

  it("starts no record whose end could not be written into the metadata", function()
    local this = scenes["no room"]
    helper.eventually(10, function() return fixture.count(this.folder, "enter") == 1 end,
      this.consumer)
    helper.eventually(2, fixture.pause(0.3), this.consumer)
    assert.same({ 0 }, entered(this.folder))
    fixture.release(this.folder, "g")
    left("no room", 6)
    assert.same({ 0, 1, 2, 3, 4, 5 }, entered(this.folder))
    helper.eventually(5, function() return committed "no room".offset == 6 end, this.consumer)
    assert.equal("", committed "no room".metadata)
  end)
end)

describe("a commit's metadata that cannot be read", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is replayed from the committed offset, with an event, unless it is to fail", function()
    local topic = helper.topic(1)
    fixture.produce(topic, records(5))
    local events, folders, list = {}, {}, {}
    for i, mode in ipairs { "replay", "fail" } do
      local group = helper.name "group"
      commit_foreign(group, topic, 2, "the notes of another client")
      folders[i] = fixture.folder()
      list[i] = fixture.consumer { topics = { topic }, kafka = { ["group.id"] = group },
        handler_args = folders[i], unreadable_metadata = mode,
        on_event = function(event) events[mode .. " " .. event.type] = event end }
      assert(list[i]:start())
    end
    helper.eventually(20, function() return fixture.count(folders[1], "leave") == 3 end,
      list[1])
    assert.same({ 2, 3, 4 }, entered(folders[1]))
    local event = helper.eventually(20, function() return events["replay metadata_unreadable"] end,
      list[1])
    assert.same({ topic, 0, 2 }, { event.topic, event.partition, event.offset })
    assert.is_string(event.reason)
    local ok, message, code, report = list[2]:run()
    assert.is_nil(ok)
    assert.matches(topic, message, 1, true)
    assert.equal("METADATA_UNREADABLE", code)
    assert.equal(0, report.done)
    assert.same({}, entered(folders[2]))
  end)
end)
