-- What handlers produce, on a real broker: topics that are not there, limits
-- that the broker sets, rebalances and crashes.
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local member = require "spec.support.member"
local fixture = require "spec.support.fixture"

-- A reader of topics, in this process. It learns soon of partitions that are added.
local function open_book(topics)
  local options, book = letters.reader(topics)
  options.group, options.log = helper.name "group", nil
  options.kafka = { ["topic.metadata.refresh.interval.ms"] = 1000 }
  local reader = member.start(options)
  return book, reader
end

local function options_of(topic, out, given)
  local folder = helper.folder()
  local options = { group = helper.name "group", topics = { topic }, workers = 4,
    handler = "spec.handlers.producing", handler_args = { folder = folder, out = out },
    retry = { attempts = 2, delay = 0.01, jitter = 0 }, producer = {}, commit_interval = 0.1 }
  for name, value in pairs(given or {}) do options[name] = value end
  return options, folder
end

local function committed(options, topic, partition)
  local entry = member.committed(options.group, topic)[partition or 0]
  return entry and entry.offset or 0
end

local function records(n, keys, value)
  local list = {}
  for i = 1, n do
    list[i] = { key = "key" .. i * 7919 % keys, value = value or "copy", partition = 0 }
  end
  return list
end

-- lost: records without an output. inversions: first outputs of a key that
-- come after those of a later record. copies: outputs beyond the first.
local function audit(list, count)
  local seen, last = {}, {}
  local result = { lost = count, copies = 0, inversions = 0 }
  for _, letter in ipairs(list) do
    local offset = tonumber(letter.value:match "^(%d+)/")
    if seen[offset] then
      result.copies = result.copies + 1
    else
      if offset < (last[letter.key] or 0) then result.inversions = result.inversions + 1 end
      seen[offset], last[letter.key] = true, offset
      result.lost = result.lost - 1
    end
  end
  return result
end

describe("an output on a real broker", function()
  after_each(member.end_all)

  it("to a topic that is not there, or too large for its topic, ends its record alone", function()
    local topic = helper.topic(1)
    local out = helper.topic(1, { ["max.message.bytes"] = "20000" })
    local list = records(60, 7, "copy;large 400")
    for i = 1, 9 do list[i].value = "" end -- nothing is known of topics yet
    list[10].value, list[11].value = "to " .. helper.name "missing", "large 40000"
    fixture.produce(topic, list)
    local options = options_of(topic, out,
      { producer = { kafka = { ["linger.ms"] = 50 } }, workers = 1 })
    local book, reader = open_book { out }
    local consumer, events = member.start(options)
    helper.eventually(60, function()
      return consumer:stats().parked == 2 and consumer:stats().done == 58
    end, consumer, reader)
    local reasons = {}
    for _, event in ipairs(events) do
      if event.type == "parked" then reasons[event.offset] = event.reason end
    end
    assert.matches("nknown topic", reasons[9])
    assert.matches("too large", reasons[10])
    assert.equal(9, committed(options, topic))
    book:wait(20, out, 98, consumer, reader)
    assert.equal(2, consumer:stats().outputs_failed)
    assert.equal(0, consumer:stats().staged_bytes)
  end)

  it("raises for what is known of its topic, until that has changed", function()
    local topic, missing = helper.topic(1), helper.name "missing"
    local out = helper.topic(1, { ["max.message.bytes"] = "20000" })
    local options = options_of(topic, out, { retry = { attempts = 1000, delay = 0.1, jitter = 0 },
      exhausted = "skip",
      producer = { kafka = { ["topic.metadata.propagation.max.ms"] = 100 } } })
    local book, reader = open_book { out }
    local consumer, events = member.start(options)
    local function failed(reason)
      for _, event in ipairs(events) do
        if event.type == "record_failed" and event.reason:find(reason, 1, true) then
          return event
        end
      end
    end
    local function told(type)
      for _, event in ipairs(events) do
        if event.type == type then return event end
      end
    end
    fixture.produce(topic, { { key = "a", value = "copy" } })
    helper.eventually(30, function() return told "batch_limit" end, consumer, reader)
    assert.equal(out, told "batch_limit".topic)
    assert.matches("more than 20000 bytes", told "batch_limit".reason)
    local sent = 1
    helper.eventually(30, function()
      sent = sent + 1 -- each is one more that ends, until it is known
      fixture.produce(topic, { { key = "b" .. sent, value = "to " .. missing } })
      helper.eventually(5, fixture.pause(0.3), consumer, reader)
      return failed "it does not exist"
    end)
    fixture.produce(topic, { { key = "c", value = "place 2" }, { key = "d", value = "large 40000" } })
    helper.eventually(30, function()
      return failed "it has 1 partitions, and none is 2"
        and failed "larger than the topic's 'max.message.bytes' (20000)"
    end, consumer, reader)
    local admin = assert(require "strand".admin { kafka = {
      ["bootstrap.servers"] = helper.bootstrap() } })
    assert(admin:create_topics { [missing] = 1 })
    assert(admin:create_partitions { [out] = 3 })
    assert(admin:alter_config { topic = out, set = { ["max.message.bytes"] = "100000" } })
    admin:close()
    helper.eventually(60, function() return committed(options, topic) == sent + 2 end, consumer,
      reader)
    book:wait(20, out, 3, consumer, reader)
    assert.equal(0, consumer:stats().staged_bytes)
  end)

  it("goes on in smaller batches when its topic takes none so large", function()
    local topic = helper.topic(1)
    local out = helper.topic(1, { ["max.message.bytes"] = "20000" })
    fixture.produce(topic, records(3000, 50, "gate go;large 400;copy"))
    local options, folder = options_of(topic, out, { producer = { kafka = { ["linger.ms"] = 100 } } })
    local book, reader = open_book { out }
    local consumer, events = member.start(options)
    fixture.release(folder, "go")
    book:wait(60, out, 6000, consumer, reader)
    helper.eventually(30, function() return committed(options, topic) == 3000 end, consumer, reader)
    local count = { batch_limit = 0, error = 0 }
    for _, event in ipairs(events) do
      if count[event.type] then count[event.type] = count[event.type] + 1 end
    end
    assert.equal(1, count.batch_limit)
    assert.is_true(count.error <= 1) -- what was on its way before the limit was known
    local stats = consumer:stats()
    assert.same({ 6000, 6000, 0 }, { stats.outputs_sent, stats.outputs_acknowledged,
      stats.outputs_failed })
    assert.equal(6000, #book:list(out)) -- none twice
  end)

  it("is neither lost nor repeated by rebalances, which wait for it", function()
    local topic, out = helper.topic(4), helper.topic(1)
    local list = records(2000, 50)
    for _, record in ipairs(list) do record.partition = nil end
    fixture.produce(topic, list)
    local options = options_of(topic, out, { workers = 8 })
    local book, reader = open_book { out }
    local first = member.start(options)
    helper.eventually(30, function() return first:stats().done > 100 end, first, reader)
    local second = member.start(options)
    helper.eventually(60, function()
      return first:stats().done + second:stats().done >= 2000
    end, first, second, reader)
    assert(second:close())
    assert(first:close())
    book:wait(20, out, 2000, reader)
    helper.eventually(5, fixture.pause(0.5), reader)
    assert.equal(2000, #book:list(out))
    assert.equal(2000, first:report().done + second:report().done)
  end)

  it("is not lost when the process is killed, and keeps the order of its key", function()
    local topic, out, count = helper.topic(1), helper.topic(1), 4000
    local options = options_of(topic, out, { workers = 8,
      kafka = { ["session.timeout.ms"] = 2000 } })
    local book, reader = open_book { out }
    fixture.produce(topic, records(count, 20))
    for kill = 1, 3 do
      local child = member.spawn(options)
      book:wait(60, out, kill * 900, reader)
      child:signal "KILL"
      assert.equal(128 + 9, child:wait(10))
    end
    local done_before = committed(options, topic)
    local consumer = member.start(options)
    helper.eventually(60, function() return committed(options, topic) == count end,
      consumer, reader)
    local stats = consumer:stats()
    assert(consumer:close())
    book:wait(20, out, count, reader)
    helper.eventually(5, fixture.pause(0.5), reader)
    local result = audit(book:list(out), count)
    assert.same({ 0, 0 }, { result.lost, result.inversions })
    assert.is_true(done_before <= count and stats.done <= count - done_before)
  end)
end)
