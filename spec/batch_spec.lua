-- Handlers that take batches: what is in one, what becomes of its records one
-- by one, and who comes again with whom.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

modes.each(describe, "a batch", function(mode)
  local scenes = {}
  teardown(fixture.close)

  local function plain(count, keys)
    local records = {}
    for i = 1, count do records[i] = { key = "k" .. (i - 1) % keys, value = "x" } end
    return records
  end

  -- 'count' records of 'keys' keys; 'wishes' are values by number.
  local function wishing(count, keys, wishes)
    local records = plain(count, keys)
    for i, value in pairs(wishes) do records[i].value = value end
    return records
  end

  local function scene(name, options, records)
    local this = { topic = helper.topic(options.partitions or 1), folder = fixture.folder(),
      events = {}, records = records }
    options.partitions = nil
    options.topics, options.handler_args = { this.topic }, this.folder
    options.handler = "spec.handlers.batches"
    options.workers = 1
    options.retry = options.retry or { delay = 0.05, factor = 1, jitter = 0 }
    options.on_event = function(event) this.events[#this.events + 1] = event end
    this.consumer = fixture.consumer(options)
    scenes[name] = this
  end

  -- The one worker is held by a first record until all others are there: so
  -- what a batch could hold, it holds.
  local function play(this)
    fixture.produce(this.topic, { { key = "first", value = "hold", partition = 0 } })
    helper.eventually(20, function() return helper.read(this.folder .. "/journal") end,
      this.consumer)
    fixture.produce(this.topic, this.records)
    helper.eventually(20, function()
      return this.consumer:stats().buffered_records > #this.records
    end, this.consumer)
    helper.write(this.folder .. "/open", "")
  end

  local function finished(name, count)
    local this = scenes[name]
    helper.eventually(20, function()
      local report = this.consumer:report()
      return report.done + report.skipped >= count
    end, this.consumer)
    while this.consumer:step(0) > 0 do end
    return this
  end

  -- The calls after the first: lists of { partition, offset, attempt, key }.
  local function calls(this)
    local list = {}
    for line in helper.read(this.folder .. "/journal"):gmatch "[^\n]+" do
      local call = {}
      for partition, offset, attempt, key in line:gmatch "(%d+)/(%d+)/(%d+)/(%S+)" do
        call[#call + 1] = { partition = tonumber(partition), offset = tonumber(offset),
          attempt = tonumber(attempt), key = key }
      end
      list[#list + 1] = call
    end
    assert.equal("first", table.remove(list, 1)[1].key)
    return list
  end

  local function offsets(call)
    local list = {}
    for i, record in ipairs(call) do list[i] = record.offset end
    return list
  end

  local function of_type(this, name)
    local list = {}
    for _, event in ipairs(this.events) do
      if event.type == name then list[#list + 1] = event end
    end
    return list
  end

  setup(function()
    fixture.open(mode)
    local spread, halves = {}, plain(60, 5)
    for i = 0, 59 do
      spread[i + 1] = { key = "k" .. i % 15, value = "x", partition = i % 15 % 3 }
    end
    for i, record in ipairs(halves) do record.partition = i % 2 end
    -- Lingers: the partitions may come one after another, and calls of one alone for ever.
    scene("mixed", { partitions = 3, batch = { size = 10, linger = 1 } }, spread)
    scene("key", { batch = { size = 8, by = "key" } }, plain(40, 4))
    scene("partition", { partitions = 2, batch = { size = 20, by = "partition" } }, halves)
    scene("partition order", { ordering = "partition", batch = { size = 10, by = "partition" } },
      plain(30, 30))
    scene("unordered", { ordering = "unordered", batch = { size = 10 } }, plain(30, 30))
    scene("marks", { batch = { size = 9 } },
      wishing(9, 9, { [3] = "fail 2", [5] = "retry 0.02 1" }))
    scene("behind", { batch = { size = 10, by = "partition" } }, wishing(6, 2, { [3] = "fail 1" }))
    scene("raises", { batch = { size = 4 } }, wishing(4, 4, { "error 1", "skip", "done" }))
    scene("returns", { batch = { size = 3 } }, wishing(3, 3, { "false", "done" }))
    scene("outcome", { batch = { size = 3 } }, wishing(3, 3, { "outcome", "done" }))
    scene("parks", { batch = { size = 3 } }, wishing(6, 3, { [2] = "park" }))
    scene("policy", { batch = { size = 4 }, retry = function(attempt, reason, record)
      return reason == "this one" and attempt == 1 and record.offset / 100
    end }, wishing(4, 4, { [2] = "fail 1", [3] = "fail 1" }))
    scene("lingers", { batch = { size = 10, linger = 0.3 } }, plain(25, 25))
    scene("misuse", { batch = { size = 1 }, retry = { attempts = 1 } },
      wishing(2, 2, { "misuse", "misuse" }))
    local consumers = {}
    for _, this in pairs(scenes) do consumers[#consumers + 1] = this.consumer end
    fixture.start((table.unpack or unpack)(consumers))
    for _, this in pairs(scenes) do play(this) end
  end)

  it("has one record of a key at most, from several partitions", function()
    local last, widest, most = {}, 0, 0
    for _, call in ipairs(calls(finished("mixed", 61))) do
      local seen, partitions, count = {}, {}, 0
      for _, record in ipairs(call) do
        assert.is_nil(seen[record.key], "two records of a key")
        seen[record.key] = true
        if not partitions[record.partition] then count = count + 1 end
        partitions[record.partition] = true
        assert.is_true(record.offset > (last[record.key] or -1))
        last[record.key] = record.offset
      end
      widest, most = math.max(widest, count), math.max(most, #call)
      assert.is_true(#call <= 10)
    end
    assert.equal(10, most)
    assert.is_true(widest > 1)
  end)

  it("by key has the records of one key, in order", function()
    local list = calls(finished("key", 41))
    for _, call in ipairs(list) do
      for i, record in ipairs(call) do
        assert.equal(call[1].key, record.key)
        assert.is_true(i == 1 or record.offset == call[i - 1].offset + 4)
      end
    end
    assert.equal(8, #list[1])
  end)

  it("by partition has records of one partition, each key's in order", function()
    local last, list = {}, calls(finished("partition", 61))
    for _, call in ipairs(list) do
      for _, record in ipairs(call) do
        local key = record.partition .. record.key
        assert.equal(call[1].partition, record.partition)
        assert.is_true(record.offset > (last[key] or -1))
        last[key] = record.offset
      end
    end
    assert.equal(20, #list[1])
  end)

  it("follows the other orderings", function()
    local before = 0
    for _, call in ipairs(calls(finished("partition order", 31))) do
      assert.is_true(#call <= 10)
      for _, record in ipairs(call) do
        assert.equal(before + 1, record.offset)
        before = record.offset
      end
    end
    local list = calls(finished("unordered", 31))
    assert.same({ 10, 10, 10 }, { #list[1], #list[2], #list[3] })
  end)

  it("fails where it says so; only that record comes again, and alone", function()
    local this = finished("marks", 10)
    local list = calls(this)
    assert.same({ 9, 1, 1, 1 }, { #list[1], #list[2], #list[3], #list[4] })
    assert.same({ 5, 3, 3 }, { list[2][1].offset, list[3][1].offset, list[4][1].offset })
    local failures = of_type(this, "record_failed")
    assert.equal(3, #failures)
    assert.equal("this one", failures[1].reason)
    assert.equal(0.05, failures[1].delay)
    assert.equal(3, this.consumer:report().failed)
  end)

  it("sends back unstarted what follows a failed record of its key", function()
    local list = calls(finished("behind", 7)) -- offsets 1 3 5 are k0; 3 fails
    assert.equal(6, #list[1])
    assert.same({ 3 }, offsets(list[2]))
    assert.same({ 5 }, offsets(list[3]))
    assert.equal(1, list[3][1].attempt)
    assert.equal(3, #list)
  end)

  it("fails all records without a mark when it raises", function()
    local this = finished("raises", 5)
    local list = calls(this)
    assert.same({ 1, 2, 3, 4 }, offsets(list[1]))
    assert.same({ 4, 1, 1 }, { #list[1], #list[2], #list[3] })
    local report = this.consumer:report()
    assert.equal(1, report.skipped)
    assert.equal(2, report.failed)
    for _, event in ipairs(of_type(this, "record_failed")) do
      assert.matches("all of it", event.reason)
      assert.matches("stack traceback", event.reason)
    end
  end)

  it("fails or ends all records without a mark by what it returns", function()
    local this = finished("returns", 4)
    assert.equal(2, #of_type(this, "record_failed"))
    assert.equal("returned", of_type(this, "record_failed")[1].reason)
    this = finished("outcome", 4)
    assert.equal(2, this.consumer:report().skipped)
    assert.equal(1, #calls(this))
  end)

  it("parks a record, and goes on with the others", function()
    local this = finished("parks", 5) -- the other record of its key is behind it
    local parked = of_type(this, "parked")
    assert.equal(1, #parked)
    assert.equal(2, parked[1].offset)
    assert.equal("asked for", parked[1].reason)
    assert.equal(1, this.consumer:report().parked)
  end)

  it("asks the retry function for each record that failed", function()
    local delays = {}
    for _, event in ipairs(of_type(finished("policy", 5), "record_failed")) do
      delays[event.offset] = event.delay
    end
    assert.same({ [2] = 0.02, [3] = 0.03 }, delays)
  end)

  it("waits for its size as long as it lingers", function()
    local this = finished("lingers", 26)
    local list = calls(this)
    assert.same({ 10, 10, 5 }, { #list[1], #list[2], #list[3] })
    fixture.produce(this.topic, { { key = "late", value = "x" } })
    local seconds = helper.seconds(finished, "lingers", 27)
    assert.is_true(seconds >= 0.2, "the last one did not wait")
    assert.equal(1, #calls(this)[4])
  end)

  it("names what is wrong with a mark", function()
    local this = scenes.misuse
    helper.eventually(10, function() return #of_type(this, "record_failed") == 2 end,
      this.consumer)
    local failed = of_type(this, "record_failed")
    local text = failed[1].reason .. failed[2].reason -- the later one has kept the other's batch
    assert.matches("batch:fail%(i%): the number of a record expected, 1 to 1", text)
    assert.matches("batch used after its handler returned", text)
    assert.matches("record used after its handler returned", text)
    local refused = select(2, text:gsub("seconds expected, from 0 to 316224000 %(ten years%)", ""))
    assert.equal(8, refused)
  end)

  it("of a route has its own size; other routes have none", function()
    local topics = { helper.topic(1), helper.topic(1) }
    local folder = fixture.folder()
    fixture.produce(topics[1], plain(20, 20))
    fixture.produce(topics[2], plain(5, 5))
    local consumer = fixture.start(fixture.consumer {
      topics = topics, workers = 1, handler_args = folder,
      handler = {
        [topics[1]] = { handler = "spec.handlers.batches", batch = { size = 7, linger = 5 } },
        [topics[2]] = function(record) assert(record.key) end,
      },
    })
    helper.write(folder .. "/open", "")
    helper.eventually(20, function() return consumer:report().done >= 25 end, consumer)
    local sizes = {}
    for line in helper.read(folder .. "/journal"):gmatch "[^\n]+" do
      sizes[#sizes + 1] = select(2, line:gsub("%S+", ""))
    end
    assert.same({ 7, 7, 6 }, sizes)
  end)

  it("does not linger while the consumer drains", function()
    local topic, folder = helper.topic(2), fixture.folder()
    fixture.produce(topic, wishing(6, 6, { [2] = "fail 1" }))
    local consumer = fixture.start(fixture.consumer { topics = { topic }, handler_args = folder,
      handler = "spec.handlers.batches", batch = { size = 100, linger = 3600 },
      retry = { delay = 3600, max_delay = 3600 } })
    helper.eventually(20, function() return consumer:stats().buffered_records == 6 end, consumer)
    assert.equal(0, consumer:stats().done)
    local seconds, report = helper.seconds(consumer.close, consumer,
      { mode = "drain", timeout = 20 })
    assert.same({ 5, 1 }, { report.done, #report.unfinished })
    assert.is_true(seconds < 10 + helper.late, ("close took %.1f s"):format(seconds))
  end)

  it("needs a handle_batch, and a handle_batch needs it", function()
    local function start(handler, batch)
      local folder = helper.folder()
      helper.write(folder .. "/module.lua", "return { " .. handler .. " = print }")
      local consumer = fixture.consumer { topics = { helper.name "absent" }, batch = batch,
        handler = folder:gsub("/", ".") .. ".module" }
      local ok, message, code = consumer:start()
      assert.is_nil(ok)
      assert.equal("HANDLER", code)
      return message
    end
    assert.matches("has a 'handle' and no 'handle_batch', which is called with option 'batch'",
      start("handle", { size = 2 }))
    assert.matches("has a 'handle_batch' and no 'handle', which is called without option 'batch'",
      start("handle_batch", nil))
  end)

  it("is given back when its partition leaves, and lost by nobody", function()
    local topic, folder = helper.topic(4), fixture.folder()
    local group = helper.name "group"
    local records = {}
    for i = 1, 400 do records[i] = { key = "k" .. i % 50, value = "x", partition = i % 50 % 4 } end
    local function member()
      return fixture.consumer { topics = { topic }, kafka = { ["group.id"] = group }, workers = 2,
        handler = "spec.handlers.batches", handler_args = folder, batch = { size = 20 },
        commit_interval = 0.1 }
    end
    helper.write(folder .. "/open", "")
    local one = fixture.start(member())
    fixture.produce(topic, records)
    helper.eventually(20, function() return one:report().done > 0 end, one)
    local two = fixture.start(member())
    fixture.produce(topic, records)
    helper.eventually(30, function()
      local sum = 0
      for _, entry in pairs(fixture.committed(group, topic)) do sum = sum + entry.offset end
      return sum == 800
    end, one, two)
    local seen = {}
    for line in helper.read(folder .. "/journal"):gmatch "[^\n]+" do
      for partition, offset in line:gmatch "(%d+)/(%d+)/" do seen[partition .. "/" .. offset] = true end
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(800, count)
  end)
end)

-- Without limits that are of no account here, and started together: a mock's
-- group takes seconds to begin.
local function shelf()
  local this, made, started = {}, {}, false

  function this.records(count, keys, value)
    local list = {}
    for i = 1, count do list[i] = { key = "k" .. i % keys, value = value or "x", partition = 0 } end
    return list
  end

  function this.add(name, options, records)
    local folder, topic = fixture.folder(), helper.topic(options.partitions or 1)
    options.topics = { topic, options.beside }
    options.handler = "spec.handlers.batches"
    if options.beside then
      options.handler = { [options.beside] = function() end,
        [topic] = { "spec.handlers.batches", batch = options.batch } }
      options.batch = nil
    end
    options.handler_args, options.partitions, options.beside = folder, nil, nil
    options.workers = 1
    options.retry = { delay = 3600, max_delay = 3600 }
    helper.write(folder .. "/open", "")
    fixture.produce(topic, records or {})
    made[name] = { consumer = fixture.consumer(options), folder = folder, topic = topic }
    return made[name]
  end

  function this.start()
    local list = {}
    for _, one in pairs(made) do list[#list + 1] = one.consumer end
    fixture.start((table.unpack or unpack)(list))
    started = true
  end

  -- The sizes of the calls, once 'count' records are done.
  function this.sizes(name, count)
    assert(started)
    local one, list = made[name], {}
    helper.eventually(20, function() return one.consumer:stats().done >= count end, one.consumer)
    for line in helper.read(one.folder .. "/journal"):gmatch "[^\n]+" do
      list[#list + 1] = select(2, line:gsub("%S+", ""))
    end
    return list
  end

  this.made = made
  return this
end

-- Each of these would wait for an hour if it waited out its linger.
describe("a batch that cannot grow", function()
  local all = shelf()
  local ways = { "mixed", "key", "partition" }

  local function hour(size, by)
    return { size = size, by = by, linger = 3600 }
  end

  setup(function()
    fixture.open()
    local records = all.records
    for _, by in ipairs(ways) do
      local keys = by == "key" and 1 or 200
      all.add("records " .. by, { batch = hour(100, by), max_buffered_records = 50 },
        records(200, keys))
      all.add("bytes " .. by, { batch = hour(300, by), max_buffered_bytes = 60000 },
        records(400, keys, ("x"):rep(3000)))
    end
    all.add("idle", { batch = hour(100), partitions = 4, max_buffered_records = 40 },
      records(120, 120))
    local waiting = records(10, 10)
    waiting[1] = { key = "bad", value = "fail 1" }
    for i = 11, 20 do waiting[i] = { key = "bad", value = "x" } end
    for i = 21, 23 do waiting[i] = { key = "new" .. i, value = "x" } end
    all.add("waiting", { batch = hour(10), max_waiting_records = 5 }, waiting)
    all.add("metadata", { batch = hour(100), max_metadata = 0 }, records(20, 20))
    local far = records(1100, 1100)
    for _, i in ipairs { 1, 2, 1101 } do far[i] = { key = "far", value = "x" } end
    all.add("far", { batch = hour(4, "key") }, far)
    all.add("ready", { batch = hour(300), max_ready = 4 }, records(300, 300))
    local few = records(17, 1)
    few[1].key = "few"
    all.add("few", { batch = hour(8, "key") }, few)
    for _, by in ipairs(ways) do
      local held = { { key = "a", value = "hold" }, { key = "a", value = "hold" } }
      if by == "mixed" then held[2].key = "b" end
      held[3] = { key = "a", value = "old" }
      os.remove(all.add("oldest " .. by, { batch = { size = 2, linger = 2, by = by } },
        held).folder .. "/open")
    end
    all.start()
  end)
  teardown(fixture.close)

  for _, by in ipairs(ways) do
    it("goes when the buffer is full of records: by " .. by, function()
      assert.equal(50, all.sizes("records " .. by, 150)[1])
    end)

    it("goes when the buffer is full of bytes: by " .. by, function()
      local list = all.sizes("bytes " .. by, 300)
      assert.is_true(list[1] < 300 and list[2] >= 10, list[1] .. " and " .. list[2])
    end)
  end

  it("goes when its partition is full, and the others have nothing", function()
    assert.is_true(all.sizes("idle", 80)[1] >= 10)
  end)

  it("goes when what waits for a retry fills its budget", function()
    assert.same({ 10, 3 }, all.sizes("waiting", 12))
  end)

  it("goes when the commit's metadata lets nothing more start", function()
    all.sizes("metadata", 19)
  end)

  it("goes when the next of its key is too far away for one lease", function()
    assert.same({ 2 }, all.sizes("far", 2))
  end)

  it("is read for, whatever there is that could start", function()
    assert.same({ 300 }, all.sizes("ready", 300))
  end)

  it("of a key is not held up by that of another", function()
    assert.same({ 8, 8 }, all.sizes("few", 16))
  end)

  -- What was behind it in its key comes after the young one, and is older.
  for _, by in ipairs(ways) do
    it("has lingered when its oldest has: by " .. by, function()
      local one = all.made["oldest " .. by]
      helper.eventually(10, function() return helper.read(one.folder .. "/journal") end,
        one.consumer)
      helper.eventually(5, fixture.pause(2.5), one.consumer)
      fixture.produce(one.topic, { { key = "c", value = "young" } })
      helper.eventually(10, function()
        return one.consumer:stats().partitions[1].position == 4
      end, one.consumer)
      local from = fixture.now()
      helper.write(one.folder .. "/open", "")
      all.sizes("oldest " .. by, 3)
      assert.is_true(fixture.now() - from < 1.5, ("%.1f s"):format(fixture.now() - from))
    end)
  end
end)

describe("a rate beside batches", function()
  local all = shelf()
  local ways = { mixed = 3000, key = 10, partition = 3000 }

  setup(function()
    fixture.open()
    for by, keys in pairs(ways) do
      all.add(by, { batch = { size = 100, by = by }, rate = { records_per_second = 500 } },
        all.records(3000, keys))
    end
    all.add("burst", { batch = { size = 100, linger = 60 },
      rate = { records_per_second = 50, burst = 20 } }, all.records(100, 100))
    all.add("buffer", { batch = { size = 100 }, max_buffered_records = 30,
      rate = { records_per_second = 100, burst = 100 } }, all.records(300, 300))
    all.add("keys", { batch = { size = 100, by = "key" }, rate = { records_per_second = 100 } },
      all.records(400, 40))
    all.add("slow", { batch = { size = 10, linger = 0.5 },
      rate = { records_per_second = 1, burst = 10 } }, all.records(13, 13))
    local single = helper.topic(1)
    fixture.produce(single, all.records(400, 400))
    all.add("beside", { batch = { size = 50 }, beside = single,
      rate = { records_per_second = 200, burst = 100 } }, all.records(400, 400))
    all.start()
  end)
  teardown(fixture.close)

  for by in pairs(ways) do
    it("leaves them their size: by " .. by, function()
      local list = all.sizes(by, 3000)
      print(("\nfigure calls_of_3000_records_by_%s %d"):format(by, #list))
      assert.is_true(#list <= 90, #list .. " calls")
    end)
  end

  it("leaves them what its burst allows", function()
    assert.same({ 20, 20, 20, 20, 20 }, all.sizes("burst", 100))
  end)

  it("leaves them what a small buffer holds", function()
    local list = all.sizes("buffer", 300)
    assert.is_true(#list <= 30, #list .. " calls")
  end)

  it("leaves what is not full, and does not linger, together", function()
    local list = all.sizes("keys", 400)
    assert.is_true(#list <= 80, #list .. " calls")
  end)

  it("does not hold up what is left for more than a second", function()
    local consumer = all.made.slow.consumer
    all.sizes("slow", 10)
    local from = fixture.now()
    local list = all.sizes("slow", 11)
    assert.is_true(fixture.now() - from < 2.5, ("%.1f s"):format(fixture.now() - from))
    assert.equal(10, list[1])
    assert.equal(13, helper.eventually(20, function()
      local done = consumer:stats().done
      return done == 13 and done
    end, consumer))
  end)

  it("of the consumer leaves them their size beside a route of single records", function()
    helper.eventually(20, function() return all.made.beside.consumer:stats().done == 800 end,
      all.made.beside.consumer)
    local list = all.sizes("beside", 800)
    assert.is_true(#list <= 20, #list .. " calls")
  end)
end)
