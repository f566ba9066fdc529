-- A parked record is not done, and the group knows that: whoever gets its
-- partition next finds it again.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

local RETRY = { attempts = 2, delay = 0.01 }

local function open(group, topic, folder, handler_options)
  local options = { topics = { topic }, kafka = { ["group.id"] = group }, handler_args = folder,
    commit_interval = 0.1, retry = RETRY }
  for name, value in pairs(handler_options or {}) do options[name] = value end
  return fixture.consumer(options)
end

local function parked(count, ...)
  local list = { ... }
  return helper.eventually(30, function()
    local records = {}
    for _, consumer in ipairs(list) do
      local next_one = consumer:parked()
      if not next_one then return false end
      for record in next_one do records[#records + 1] = record end
    end
    return #records == count and records
  end, ...)
end

local function committed(group, topic, partition)
  return helper.eventually(20, function() return fixture.committed(group, topic)[partition or 0] end)
end

-- arg is bootstrap servers, group, topic, folder.
local PROGRAM = [[
local strand = require "strand"
local bootstrap, group, topic, folder = (table.unpack or unpack)(arg)
io.stdout:setvbuf "no"
local consumer = assert(strand.consumer {
  kafka = { ["bootstrap.servers"] = bootstrap, ["group.id"] = group,
    ["session.timeout.ms"] = 6000 },
  topics = { topic }, workers = 4, handler = "spec.handlers.actor", handler_args = folder,
  commit_interval = 0.05, retry = { attempts = 2, delay = 0.01 },
})
assert(consumer:run { every = 0.05, tick = function()
  local place = consumer:assignment()[1]
  if place and place.committed and place.parked == 2 and place.highest_done == 5 then
    print "parked"
  end
end })
]]

describe("a parked record", function()
  local topic, group, folder

  setup(fixture.open)
  teardown(fixture.close)
  after_each(fixture.clear)
  before_each(function()
    topic, group, folder = helper.topic(1), helper.name "group", fixture.folder()
  end)

  local function produce()
    fixture.produce(topic, {
      { key = "ok" }, { key = "a", value = "park asked" }, { key = "a" }, { key = "b" },
      { value = "fail 99" }, { key = "c" },
    })
  end

  -- What was done is not done again; what was parked is parked again.
  local function assert_found_again(consumer, entered)
    local records = parked(2, consumer)
    assert.same({ 1, "a", "asked", 4, "fail 99", "attempt 2 fails" }, { records[1].offset,
      records[1].key, records[1].reason, records[2].offset, records[2].value, records[2].reason })
    assert.same(entered, { fixture.count(folder, "enter", 0), fixture.count(folder, "enter", 1),
      fixture.count(folder, "enter", 2), fixture.count(folder, "enter", 3),
      fixture.count(folder, "enter", 4), fixture.count(folder, "enter", 5) })
    local group_knows = committed(group, topic)
    assert.equal(1, group_knows.offset)
    assert.same({ { 1, 2 }, { 4, 4 } }, group_knows.decoded.incomplete)
  end

  for _, holds in ipairs { "shard", "record" } do
    it("is never committed, and found again after a restart; it holds its " .. holds, function()
      produce()
      local done = holds == "shard" and 3 or 4
      local first = fixture.start(open(group, topic, folder, { parked_holds = holds }))
      parked(2, first)
      helper.eventually(20, function() return first:stats().done == done end, first)
      local report = assert(first:close { timeout = 20 })
      assert.equal(2, report.parked)
      assert.equal(1, committed(group, topic).offset)
      local second = fixture.start(open(group, topic, folder, { parked_holds = holds }))
      parked(2, second)
      assert.equal(1, fixture.count(folder, "enter", 0))
      assert.equal(2, fixture.count(folder, "enter", 1))
      assert.equal(holds == "shard" and 0 or 1, fixture.count(folder, "enter", 2))
      assert.equal(4, fixture.count(folder, "enter", 4))
      for record in second:parked() do assert(second:resolve(record, "discard")) end
      helper.eventually(20, function()
        local offsets = fixture.committed(group, topic)[0]
        return offsets.offset == 6 and offsets.metadata == ""
      end, second)
      assert.same({}, assert(second:close { timeout = 20 }).unfinished)
    end)
  end

  it("is found again after its process was killed", function()
    produce()
    local child = helper.spawn(PROGRAM, helper.bootstrap(), group, topic, folder)
    child:says("parked", 60)
    child:signal "KILL"
    child:wait(10)
    assert_found_again(fixture.start(open(group, topic, folder)), { 1, 2, 0, 1, 4, 1 })
  end)

  it("is parked again by another member that gets its partition", function()
    topic = helper.topic(8)
    local records = {}
    for i = 1, 8 do
      records[i] = { partition = i - 1, key = "k" .. i, value = "park once" }
      records[8 + i] = { partition = i - 1, key = "k" .. i }
    end
    fixture.produce(topic, records)
    local first = fixture.start(open(group, topic, folder))
    parked(8, first)
    local second = fixture.start(open(group, topic, folder))
    helper.eventually(30, function()
      return #second:assignment() == 4 and #first:assignment() == 4
    end, first, second)
    local again = parked(8, first, second)
    local nowhere, message, code = second:resolve(parked(4, first)[1], "retry")
    assert.is_nil(nowhere)
    assert.matches("is not assigned here", message, 1, true)
    assert.equal("NOT_ASSIGNED", code)
    for _, record in ipairs(again) do
      if not first:resolve(record, "discard") then assert(second:resolve(record, "discard")) end
    end
    helper.eventually(20, function()
      local group_knows = fixture.committed(group, topic)
      for partition = 0, 7 do
        if not group_knows[partition] or group_knows[partition].offset ~= 2 then return false end
      end
      return true
    end, first, second)
    for partition = 0, 7 do
      local entered = 0
      for _, line in ipairs(fixture.journal(folder)) do
        if line.partition == partition and line.offset == 1 and line.what == "enter" then
          entered = entered + 1
        end
      end
      assert.equal(1, entered)
    end
  end)
end)
