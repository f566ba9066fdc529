-- Where a partition is read from.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local function numbered(i) return { key = "key" .. i % 5, value = tostring(i) } end

describe("a partition", function()
  after_each(member.end_all)

  local topic, log, group, options

  before_each(function()
    topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    options = { group = group, topics = { topic }, audit = log, commit_interval = 0.1 }
  end)

  -- Sends 'count' records, and has all of them done and committed.
  local function settle(count)
    local sent = audit.send(topic, count, numbered)
    local consumer = member.start(options)
    log:wait(20, log.ends + count, consumer)
    assert(consumer:close())
    return sent
  end

  local function start()
    local consumer, events = member.start(options)
    member.wait_assigned(20, consumer, 1)
    return consumer, events
  end

  local function offsets_since(first)
    local list = {}
    for i = first, #log:read().list do
      if log.list[i].what == "done" then list[#list + 1] = log.list[i].offset end
    end
    table.sort(list)
    return list
  end

  local function numbers(first, last)
    local list = {}
    for i = first, last do list[#list + 1] = i end
    return list
  end

  describe("of a group without an offset", function()
    it("is read from its start", function()
      local sent = audit.send(topic, 10, numbered)
      local consumer = start()
      log:wait(20, 10, consumer)
      assert.same(audit.GOOD, log:result(sent))
    end)

    it("is read from its end where auto.offset.reset says so", function()
      audit.send(topic, 10, numbered)
      options.kafka = { ["auto.offset.reset"] = "latest" }
      local consumer = start()
      helper.eventually(10, function()
        local entry = consumer:assignment()[1]
        return entry and entry.position == 10
      end, consumer)
      audit.send(topic, 5, numbered)
      log:wait(20, 5, consumer)
      assert.same(numbers(10, 14), offsets_since(1))
    end)

    it("is an event where auto.offset.reset is error, and seek goes on", function()
      audit.send(topic, 10, numbered)
      options.kafka = { ["auto.offset.reset"] = "error" }
      local consumer, events = start()
      helper.eventually(20, function()
        return member.events(events, "error", { code = "AUTO_OFFSET_RESET", topic = topic,
          partition = 0 }) > 0
      end, consumer)
      assert.equal(0, log:read().starts)
      assert(consumer:seek { topic = topic, partition = 0, offset = 4 })
      log:wait(20, 6, consumer)
      assert.same(numbers(4, 9), offsets_since(1))
      member.commit_all(consumer)
      assert.equal(10, member.committed(group, topic)[0].offset)
    end)
  end)

  it("whose records went away while nobody read is read from what is left, with an event",
    function()
      settle(10)
      local sent = audit.send(topic, 30, numbered)
      member.delete_records(topic, 0, 25)
      local consumer, events = start()
      log:wait(20, 10 + 15, consumer)
      assert.same({ 15, 0, 0, 0 }, { log:result(sent).lost, log:result(sent).repeated,
        log:result(sent).inversions, log:result(sent).overlaps })
      -- The helper does one thing after another: what it was asked about the
      -- jump is answered before this is.
      assert.is_nil((consumer:seek { topic = topic, partition = 0, offset = 41 }))
      local count, event = member.events(events, "truncated")
      assert.equal(1, count)
      assert.same({ 10, 25, 0 }, { event.offset, event.to, event.partition })
      assert(consumer:commit())
      assert.equal(40, member.committed(group, topic)[0].offset)
    end)

  it("whose records go away while it is paused is read from what is left, with an event",
    function()
      -- Little is fetched ahead: one batch.
      options.kafka = { ["queued.max.messages.kbytes"] = 1, ["fetch.message.max.bytes"] = 1000 }
      local consumer, events = start()
      audit.send(topic, 10, numbered)
      log:wait(20, 10, consumer)
      consumer:pause()
      for _ = 1, 5 do
        audit.send(topic, 4, function() return { key = "key", value = ("x"):rep(10000) } end)
      end
      member.delete_records(topic, 0, 28)
      local sent = audit.send(topic, 10, numbered)
      consumer:resume()
      helper.eventually(20, function() return log:result(sent).lost == 0 end, consumer)
      helper.eventually(20, function() return member.events(events, "truncated") > 0 end, consumer)
      local count, event = member.events(events, "truncated")
      assert.equal(1, count)
      assert.equal(28, event.to)
      assert.is_true(log.ends < 40)
      assert(consumer:commit())
      assert.equal(40, member.committed(group, topic)[0].offset)
    end)

  it("whose records are deleted before they are done says that it alone has them", function()
    options.retry = { attempts = 1 }
    local consumer, events = start()
    audit.send(topic, 10, function(i)
      return { key = "key" .. i, value = (i == 3 or i == 5) and "fail 9" or "" }
    end)
    helper.eventually(20, function() return member.events(events, "parked") == 2 end, consumer)
    member.delete_records(topic, 0, 4)
    helper.eventually(40, function()
      return member.events(events, "records_deleted") > 0
    end, consumer)
    member.delete_records(topic, 0, 8)
    helper.eventually(40, function()
      return member.events(events, "records_deleted") > 1
    end, consumer)
    local told = {}
    for _, event in ipairs(events) do
      if event.type == "records_deleted" then
        told[#told + 1] = { event.topic, event.partition, event.offset, event.to, event.reason }
      end
    end
    local reason = "1 record is not done and not in the log any more: only this process has it"
    assert.same({ { topic, 0, 2, 4, reason }, { topic, 0, 4, 8, reason } }, told)
  end)

  it("of a topic that was made anew and is shorter is read from its start, with an event",
    function()
      settle(20)
      local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
      assert(admin:delete_topics { topic })
      helper.eventually(10, function() return admin:create_topics { [topic] = 1 } end)
      admin:close()
      audit.send(topic, 5, numbered)
      -- A broker forgets a deleted topic's offsets, in its time; here it did not.
      helper.eventually(10, function() return not member.committed(group, topic)[0] end)
      member.tool("commit", group, topic, 0, 20, "")
      local before = #log:read().list + 1
      local consumer, events = start()
      helper.eventually(20, function() return #offsets_since(before) >= 5 end, consumer)
      assert.same(numbers(0, 4), offsets_since(before))
      local count, event = member.events(events, "reset")
      assert.equal(1, count)
      assert.same({ 20, 0 }, { event.offset, event.to })
      assert(consumer:commit())
      assert.equal(5, member.committed(group, topic)[0].offset)
    end)

  describe("of a topic that is made anew while it is read", function()
    local function make_anew(...)
      local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
      assert(admin:delete_topics { topic })
      helper.eventually(10, function() return admin:create_topics { [topic] = 1 } end, ...)
      admin:close()
    end

    local function wait_reset(consumer, events)
      helper.eventually(20, function() return member.events(events, "reset") > 0 end, consumer)
      local count, event = member.events(events, "reset")
      assert.equal(1, count)
      return event
    end

    it("is read from its start", function()
      local consumer = start()
      audit.send(topic, 20, numbered)
      log:wait(20, 20, consumer)
      make_anew(consumer)
      local before = #log:read().list + 1
      audit.send(topic, 5, numbered)
      helper.eventually(30, function() return #offsets_since(before) >= 5 end, consumer)
      assert.same(numbers(0, 4), offsets_since(before))
      helper.eventually(10, function()
        consumer:commit()
        local entry = member.committed(group, topic)[0]
        return entry and entry.offset == 5
      end, consumer)
    end)

    it("is read from its start also when it is longer by the time that it is looked at",
      function()
        local consumer, events = start()
        audit.send(topic, 5, numbered)
        log:wait(20, 5, consumer)
        make_anew(consumer)
        local event = wait_reset(consumer, events)
        assert.same({ topic, 0, 5, 0 }, { event.topic, event.partition, event.offset, event.to })
        local before = #log:read().list + 1
        audit.send(topic, 20, numbered)
        helper.eventually(20, function() return #offsets_since(before) >= 20 end, consumer)
        assert.same(numbers(0, 19), offsets_since(before))
        assert(consumer:commit())
        assert.equal(20, member.committed(group, topic)[0].offset)
      end)

    -- Of the old one: done below and above what is open, parked and still in
    -- its handler.
    local function leave_much_open()
      options.retry = { attempts = 2, delay = 0.01 }
      local values = { "", "", "fail 9", "gate old", "" }
      audit.send(topic, 5, function(i) return { key = "key" .. i, value = values[i] } end)
      local consumer, events = start()
      log:wait_start(20, topic .. "/0/3", 1, consumer)
      log:wait(20, 3, consumer)
      helper.eventually(20, function()
        return member.events(events, "parked", { offset = 2 }) == 1
      end, consumer)
      assert(consumer:commit())
      local entry = member.committed(group, topic)[0]
      assert.equal(2, entry.offset)
      assert.is_true(member.covers(entry, 4))
      return consumer, events
    end

    it("has nothing of the old one committed, whatever was open of it", function()
      local consumer, events = leave_much_open()
      make_anew(consumer)
      assert.same({ 5, 0 }, { wait_reset(consumer, events).offset, events[#events].to })
      assert(consumer:commit())
      assert.same({ 0, "" }, { member.committed(group, topic)[0].offset,
        member.committed(group, topic)[0].metadata or "" })
      local before = #log:read().list + 1
      audit.send(topic, 20, function(i) return { key = "key" .. i % 7, value = "" } end)
      helper.eventually(20, function() return #offsets_since(before) >= 17 end, consumer)
      -- One key's old handler still runs: its records wait for it.
      local waiting = offsets_since(before)
      log:open "old"
      helper.eventually(20, function() return #offsets_since(before) >= 21 end, consumer)
      assert.equal(17, #waiting)
      local done = offsets_since(before)
      table.remove(done, 4) -- the old one's offset 3, too
      assert.same(numbers(0, 19), done)
      assert(consumer:commit())
      assert.equal(20, member.committed(group, topic)[0].offset)
    end)

    it("and closed at once, has the new one's start committed", function()
      local consumer, events = leave_much_open()
      make_anew(consumer)
      wait_reset(consumer, events)
      log:open "old"
      assert(consumer:close())
      assert.same({ 0, "" }, { member.committed(group, topic)[0].offset,
        member.committed(group, topic)[0].metadata or "" })
    end)

    it("without an offset to go on from, has nothing of the old one committed", function()
      settle(1) -- else there is nowhere to start
      options.kafka = { ["auto.offset.reset"] = "error" }
      local consumer, events = start()
      audit.send(topic, 9, numbered)
      log:wait(20, 10, consumer)
      make_anew(consumer)
      assert.same({ 10, 0 }, { wait_reset(consumer, events).offset, events[#events].to })
      assert.equal(1, member.events(events, "error", { code = "AUTO_OFFSET_RESET" }))
      assert(consumer:commit())
      assert.equal(0, member.committed(group, topic)[0].offset)
      local before = #log:read().list + 1
      audit.send(topic, 12, numbered)
      assert(consumer:seek { topic = topic, partition = 0, offset = "earliest" })
      helper.eventually(20, function() return #offsets_since(before) >= 12 end, consumer)
      assert.same(numbers(0, 11), offsets_since(before))
    end)
  end)

  it("is where somebody else has put it while the group was away", function()
    settle(10)
    member.tool("commit", group, topic, 0, 3,
      (assert(strand.metadata.encode(3, 8, { { 3, 4 }, { 7, 7 } }))))
    local before = #log:read().list + 1
    local consumer, events = start()
    local wanted = { 3, 4, 7, 9 }
    helper.eventually(20, function() return #offsets_since(before) >= 4 end, consumer)
    assert(consumer:commit())
    assert.same(wanted, offsets_since(before))
    assert.equal(1, member.events(events, "restored", { offset = 3 }))
    assert.equal(10, member.committed(group, topic)[0].offset)
  end)

  it("whose metadata says that more is done than its log has is read from its start", function()
    settle(10)
    member.tool("commit", group, topic, 0, 8, (strand.metadata.encode(8, 12, { { 8, 8 } })))
    local before = #log:read().list + 1
    local consumer, events = start()
    helper.eventually(20, function()
      return member.events(events, "reset", { offset = 8, to = 0 }) == 1
    end, consumer)
    local sent = audit.send(topic, 5, numbered)
    helper.eventually(20, function() return #offsets_since(before) >= 15 end, consumer)
    assert.same(numbers(0, 14), offsets_since(before))
    assert.equal(0, log:result(sent).lost)
    assert(consumer:commit())
    assert.equal(15, member.committed(group, topic)[0].offset)
  end)

  it("with metadata of another program is read from the committed offset, with an event",
    function()
      settle(10)
      member.tool("commit", group, topic, 0, 6, "left by another program")
      local before = #log:read().list + 1
      local consumer, events = start()
      helper.eventually(20, function() return #offsets_since(before) >= 4 end, consumer)
      assert.same(numbers(6, 9), offsets_since(before))
      assert.equal(1, member.events(events, "metadata_unreadable", { offset = 6 }))
    end)

  it("with metadata of another program ends the consumer where that is asked for", function()
    settle(10)
    member.tool("commit", group, topic, 0, 6, "left by another program")
    options.unreadable_metadata = "fail"
    local consumer = member.open(options)
    local before = #log:read().list
    local report, message, code = consumer:run()
    assert.is_nil(report)
    assert.equal("METADATA_UNREADABLE", code)
    assert.is_string(message)
    assert.equal(before, #log:read().list)
    assert.equal(6, member.committed(group, topic)[0].offset)
  end)

  describe("that is sought", function()
    local consumer, events, before
    local day_before = os.time() - 86400

    before_each(function()
      audit.send(topic, 10, function(i)
        return { key = "key" .. i % 5, value = tostring(i), timestamp = day_before + i * 10 }
      end)
      consumer, events = start()
      log:wait(20, 10, consumer)
      assert(consumer:commit())
      before = #log:read().list + 1
    end)

    local function check(wanted, from)
      helper.eventually(20, function() return #offsets_since(before) >= #wanted end, consumer)
      assert(consumer:commit())
      assert.same(wanted, offsets_since(before))
      local count, event = member.events(events, "sought")
      assert.equal(1, count)
      assert.same({ topic, 0, 10, from }, { event.topic, event.partition, event.offset, event.to })
    end

    it("to an offset handles again what was done from there on", function()
      assert(consumer:seek { topic = topic, partition = 0, offset = 4 })
      check(numbers(4, 9), 4)
    end)

    it("to earliest handles everything again", function()
      assert(consumer:seek { topic = topic, partition = 0, offset = "earliest" })
      check(numbers(0, 9), 0)
    end)

    it("to a time goes to the first record of that time or later", function()
      assert(consumer:seek { topic = topic, partition = 0, time = day_before + 65 })
      check(numbers(6, 9), 6)
    end)

    it("to latest skips what is there", function()
      consumer:pause()
      audit.send(topic, 5, numbered)
      assert(consumer:seek { topic = topic, partition = 0, offset = "latest" })
      consumer:resume()
      audit.send(topic, 2, numbered)
      check({ 15, 16 }, 15)
      assert.equal(17, member.committed(group, topic)[0].offset)
    end)

    it("is known to be sought by the next consumer", function()
      consumer:pause()
      assert(consumer:seek { topic = topic, partition = 0, offset = 7 })
      assert(consumer:close())
      consumer, events = start()
      helper.eventually(20, function() return #offsets_since(before) >= 3 end, consumer)
      assert.same(numbers(7, 9), offsets_since(before))
    end)

    it("beyond its end, or before its start, is where it was", function()
      member.delete_records(topic, 0, 2)
      for _, offset in ipairs { 1000, 11, 1 } do
        local ok, message, code = consumer:seek { topic = topic, partition = 0, offset = offset }
        assert.is_nil(ok)
        assert.equal("OFFSET_OUT_OF_RANGE", code)
        assert.matches("from 2 to its end at 10, and not " .. offset, message, 1, true)
      end
      audit.send(topic, 5, numbered)
      log:wait(20, 15, consumer)
      assert(consumer:close())
      assert.equal(0, member.events(events, "sought"))
      assert.equal(15, member.committed(group, topic)[0].offset)
      assert.same(numbers(10, 14), offsets_since(before))
    end)

    it("without a broker to ask is where it was", function()
      consumer:pause()
      audit.send(topic, 5, numbered)
      helper.kafka "pause"
      local ok, _, code = consumer:seek { topic = topic, partition = 0, offset = 3,
        timeout = 3 } -- less than the session
      helper.kafka "resume"
      helper.eventually(60, function() return (pcall(helper.topic, 1)) end, consumer)
      assert.same({ nil, "TIMED_OUT" }, { ok, code })
      consumer:resume()
      log:wait(20, 15, consumer)
      assert(consumer:close())
      assert.equal(0, member.events(events, "sought"))
      assert.equal(15, member.committed(group, topic)[0].offset)
      assert.same(numbers(10, 14), offsets_since(before))
    end)

    it("several times at once is where the last wanted it", function()
      consumer:pause()
      local tickets = {} -- collected, a seek is given up
      for i, offset in ipairs { 1, 8, 2, 5 } do
        tickets[i] = assert(consumer.core:seek_begin(topic, 0, "offset", offset))
      end
      helper.eventually(20, function()
        return member.events(events, "sought") == #tickets
      end, consumer)
      consumer:resume()
      helper.eventually(20, function() return #offsets_since(before) >= 5 end, consumer)
      assert(consumer:commit())
      assert.equal(10, member.committed(group, topic)[0].offset)
      assert.same(numbers(5, 9), offsets_since(before))
    end)

    it("and is not assigned here says so", function()
      local ok, message, code = consumer:seek { topic = topic, partition = 9, offset = 7 }
      assert.is_nil(ok)
      assert.is_string(message)
      assert.equal("NOT_ASSIGNED", code)
    end)
  end)
end)
