-- What a consumer shows of itself: numbers that add up, records that hold it
-- back, and events as they are documented.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

describe("stats, assignment and blockers", function()
  local consumer, topic, folder, group
  local parts

  -- Partition 0: one of each; 1: read up to 5 of 35; 2: a metadata payload.
  setup(function()
    fixture.open()
    topic, group, folder = helper.topic(3), helper.name "group", fixture.folder()
    consumer = fixture.consumer {
      kafka = { ["group.id"] = group }, topics = { topic }, handler_args = folder, workers = 4,
      commit_interval = 3600, retry = { attempts = 9, delay = 3600, max_delay = 3600 },
      rate = { records_per_second = 100000 }, exhausted = "park",
      dead_letter = { topic = "nowhere" },
      producer = { kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } }, log = function() end,
    }
    local records = {}
    for i, value in ipairs { "", "gate held", "fail 1", "park why", "letter why", "skip why", "" } do
      records[i] = { key = i == 7 and "k4" or "k" .. i, value = value, partition = 0 }
    end
    for i = 1, 5 do records[#records + 1] = { key = "r" .. i, partition = 1 } end
    for i = 1, 200 do
      records[#records + 1] = { key = i % 2 == 0 and "even" or "odd" .. i, partition = 2,
        value = i == 2 and "gate held" or nil }
    end
    -- Before the start: one that has nothing to do would commit where it is.
    fixture.produce(topic, records)
    fixture.start(consumer)
    helper.eventually(20, function()
      local s = consumer:stats()
      return s.done + s.skipped >= 107 and s.in_flight == 2 and s.letters == 1 and s.parked == 1
    end, consumer)
    assert.is_true(consumer:pause { topic = topic, partition = 1 })
    records = {}
    for i = 1, 30 do records[i] = { key = "r" .. i, partition = 1 } end
    fixture.produce(topic, records)
    helper.eventually(20, function()
      parts = {}
      for _, part in ipairs(consumer:stats().partitions) do parts[part.partition] = part end
      return parts[1].end_offset == 35 and parts[0].end_offset == 7
    end, consumer)
  end)
  teardown(fixture.close)

  it("say what became of each record, and what is under way", function()
    local s = consumer:stats()
    assert.same({ in_flight = 2, retries = 1, parked = 1, letters = 1, failed = 1, skipped = 1,
      dead_lettered = 0, waiting_records = 4, workers = 4, workers_lost = 0 },
      { in_flight = s.in_flight, retries = s.retries, parked = s.parked, letters = s.letters,
        failed = s.failed, skipped = s.skipped, dead_lettered = s.dead_lettered,
        waiting_records = s.waiting_records, workers = s.workers, workers_lost = s.workers_lost })
    for _, name in ipairs { "done", "failed", "skipped", "dead_lettered", "parked", "letters",
      "waiting_records", "waiting_bytes", "buffered_records", "buffered_bytes" } do
      local sum = 0
      for _, part in ipairs(s.partitions) do sum = sum + part[name] end
      assert.equal(s[name], sum, name)
    end
  end)

  it("count each record that was read once: it has ended, or is open", function()
    for _, part in ipairs(consumer:stats().partitions) do
      assert.equal(part.position, part.done + part.skipped + part.dead_lettered + part.open)
      assert.equal(part.open, part.waiting_records + part.buffered_records)
    end
    assert.same({ 5, 0, 100 }, { parts[0].open, parts[1].open, parts[2].open })
  end)

  it("tell the true lag from what is committed", function()
    assert.same({ 7, 5, 5 }, { parts[0].position, parts[0].true_lag, parts[0].highest_done + 0 })
    assert.same({ 5, 35, 30 }, { parts[1].position, parts[1].end_offset, parts[1].true_lag })
    assert.same({ 200, 100, 198 }, { parts[2].position, parts[2].true_lag, parts[2].highest_done })
    assert.is_nil(parts[1].lag)
    assert.is_true(consumer:commit())
    local list = helper.eventually(10, function()
      local assignment = consumer:assignment()
      return assignment[1].committed and assignment[2].committed and assignment[3].committed
        and assignment
    end, consumer)
    for _, place in ipairs(list) do
      assert.equal(({ [0] = 6, 30, 199 })[place.partition], place.lag)
      assert.equal(parts[place.partition].true_lag, place.true_lag)
      assert.equal(parts[place.partition].open, place.open)
      assert.equal(parts[place.partition].highest_done, place.highest_done)
      assert.equal(place.partition == 0 and 1 or 0, place.parked)
    end
  end)

  it("say how old the oldest open record is, and what its metadata takes", function()
    for _, part in ipairs(consumer:stats().partitions) do
      if part.open == 0 then
        assert.is_nil(part.oldest_age)
      else
        assert.is_true(part.oldest_age > 0 and part.oldest_age < 120)
      end
      assert.equal(part.metadata_bound / 4096, part.metadata_share)
    end
    assert.is_true(parts[2].metadata_bound > parts[1].metadata_bound)
    local text = fixture.committed(group, topic)[2].metadata
    assert.is_true(#text > 0 and #text <= parts[2].metadata_bound)
  end)

  it("name what holds each commit back, and why", function()
    local found = {}
    for _, blocker in ipairs(consumer:blockers(1000)) do
      if blocker.partition == 0 then
        found[blocker.offset] = ("%s %d %s"):format(blocker.state, blocker.attempts,
          blocker.reason or "-")
      end
    end
    assert.same({ "running 0 -", "waiting 1 attempt 1 fails", "parked 1 why", "waiting 1 why",
      [6] = "behind 0 -" }, found)
  end)

  it("name as many as they are asked for", function()
    helper.eventually(10, function() return #consumer:blockers(1000) == 105 end, consumer)
    assert.equal(7, #consumer:blockers(7))
  end)
end)

-- Its first column, of the table below the heading.
local function names_of(heading)
  local page = helper.read "docs/operations.md" .. "\n## "
  local chapter = page:match("\n## " .. heading .. "\n(.-)\n## ")
  local found = {}
  for cell in chapter:gmatch "\n| ([^|]*) |" do
    for name in cell:gmatch "`([%l_]+)`" do found[name] = true end
  end
  return found
end

describe("an event's name", function()
  it("is in the manual and in types.lua, and nowhere else", function()
    local typed = {}
    local alias = helper.read("lua/strand/types.lua"):match "@alias strand.EventType\n(.-)\n\n"
    for name in alias:gmatch '| "([%l_]+)"' do typed[name] = true end
    assert.same(typed, names_of "Events")
  end)

  it("is one that C tells", function()
    local source = {}
    local list = io.popen "find src -name '*.c'"
    for path in list:lines() do source[#source + 1] = helper.read(path) end
    list:close()
    source = table.concat(source)
    for name in pairs(names_of "Events") do
      assert.matches('"' .. name .. '"', source, 1, true)
    end
  end)
end)

-- What a page or types.lua names of 'stats', against what there is.
describe("each of the figures of stats()", function()
  local KAFKA = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" }

  local function keys_of(stats)
    local keys = {}
    for name in pairs(stats) do keys[name] = true end
    return keys
  end

  local function fields_of(class)
    local fields = {}
    local body = helper.read("lua/strand/types.lua"):match("@class strand%." .. class .. "\n(.-)\n\n")
    for name in body:gmatch "@field ([%l_]+)" do fields[name] = true end
    return fields
  end

  it("of a consumer is in types.lua, and of those that are numbers in the manual", function()
    local consumer = assert(strand.consumer { kafka = KAFKA, topics = { "t" }, handler = "h",
      log = function() end })
    local keys = keys_of(consumer:stats())
    consumer:close()
    assert.same(fields_of "Stats", keys)
    local page = helper.read("docs/operations.md"):match "\n### Figures\n(.-)\n### "
    keys.partitions = nil
    for name in pairs(keys) do assert.matches("`" .. name .. "`", page, 1, true) end
  end)

  it("of a producer is in types.lua", function()
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = "127.0.0.1:1" },
      log = function() end })
    local stats = producer:stats()
    producer:close { timeout = 0 }
    assert.same(fields_of "ProducerStats", keys_of(stats))
    assert.equal(0, stats.events_dropped + stats.log_dropped)
  end)
end)
