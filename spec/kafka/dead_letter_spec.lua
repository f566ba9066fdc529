-- Dead letters on a real broker: topics that are missing, limits that it
-- sets, tokens, members that come and go. The rest: spec/dead_letter_spec.lua.
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local member = require "spec.support.member"
local strand = require "strand"
local token = require "spec.support.token"

local RETRY = { attempts = 2, delay = 0.01 }

local function create(topic, partitions, config)
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
  assert(admin:create_topics { [topic] = { partitions = partitions, config = config } })
  admin:close()
end

local function send(topic, records)
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.broker() } })
  for _, record in ipairs(records) do
    record.topic = topic
    record.headers = { { "do", record.act }, { "why", record.why } }
    record.act, record.why = nil, nil
    assert(producer:send(record))
  end
  assert(producer:flush(20))
  producer:close()
end

local function poisons(count)
  local records = {}
  for i = 1, count do records[i] = { act = "ask", why = "no. " .. i, key = "k" .. i } end
  return records
end

-- A consumer of a new topic with these records; 'options' has the rest.
-- Returns it, its events, the topic and the group.
-- The brokers of specs look each second for what is older than seven days.
local KEPT = { ["retention.ms"] = "-1" }

local function start(options, records, partitions)
  local topic = options.topics and options.topics[1] or helper.topic(partitions or 1, KEPT)
  local group = options.group or helper.name "group"
  send(topic, records)
  options.topics, options.group, options.commit_interval = { topic }, group, 0.05
  options.handler, options.handler_args = "spec.handlers.poison", helper.folder()
  options.retry = options.retry or RETRY
  local consumer, events = member.start(options)
  return consumer, events, topic, group
end

local function total(group, topic)
  local sum = 0
  for _, entry in pairs(member.committed(group, topic)) do sum = sum + math.max(entry.offset, 0) end
  return sum
end

local function wait_committed(limit, group, topic, count, ...)
  pcall(helper.eventually, limit, function() return total(group, topic) >= count end, ...)
  assert.equal(count, total(group, topic))
end

local function read(topic, count)
  local options, book = letters.reader { topic }
  options.group = helper.name "reader"
  local reader = member.start(options)
  return book:wait(20, topic, count, reader)
end

describe("a dead letter topic", function()
  after_each(member.end_all)

  for _, where in ipairs { "key", "same" } do
    it("that is missing is an event, and has its letters when it appears, by " .. where, function()
      local dead = helper.name "dead"
      local consumer, events, topic, group = start({ dead_letter = { topic = dead,
        partition = where } }, poisons(20), 3)
      helper.eventually(20, function()
        return member.events(events, "topic_missing", { topic = dead }) > 0
      end, consumer)
      helper.eventually(10, function() return #consumer:blockers(20) == 20 end, consumer)
      assert.equal(0, member.events(events, "dead_lettered"))
      for _, entry in pairs(member.committed(group, topic)) do
        for offset = 0, 19 do assert.is_false(member.covers(entry, offset)) end
      end
      create(dead, 3)
      wait_committed(20, group, topic, 20, consumer)
      local seen = {}
      for _, letter in ipairs(read(dead, 20)) do
        seen[letter.header["strand.reason"]] = true
        if where == "same" then
          assert.equal(letter.header["strand.partition"], tostring(letter.partition))
        end
      end
      for i = 1, 20 do assert.is_true(seen["no. " .. i]) end
      assert.equal(1, member.events(events, "topic_missing"))
      assert.equal(0, member.events(events, "parked"))
    end)
  end

  it("gets the record as it was", function()
    local dead = helper.topic(1, KEPT)
    local consumer, _, topic, group = start({ dead_letter = { topic = dead } }, {
      { act = "raise", why = "so", key = "\0\255", value = "\254\0", timestamp = 1234567890.123 },
      { act = "ask", why = "so" } })
    wait_committed(10, group, topic, 2, consumer)
    local by = {}
    for _, letter in ipairs(read(dead, 2)) do by[letter.header["strand.offset"]] = letter end
    local first, second = by["0"], by["1"]
    assert.same({ "\0\255", "\254\0", 1234567890.123, "1234567890.123", "2" }, { first.key,
      first.value, first.timestamp, first.header["strand.timestamp"],
      first.header["strand.attempts"] })
    assert.same({ "do", "why", "strand.topic", "strand.partition", "strand.offset",
      "strand.timestamp", "strand.group", "strand.attempts", "strand.reason",
      "strand.first_failure", "strand.last_failure" }, (function(names)
        for i, header in ipairs(first.headers) do names[i] = header[1] end
        return names
      end) {})
    assert.is_nil(second.key)
    assert.is_nil(second.value)
    assert.equal("1", second.header["strand.attempts"])
  end)

  it("says the time 0 of its record in a header, for it cannot have it", function()
    local topic = helper.topic(1, KEPT)
    local dead, group = helper.topic(1), helper.name "group"
    member.tool("stamp", topic, 0, 0)
    local seen
    local consumer = member.start { topics = { topic }, group = group, commit_interval = 0.05,
      workers = 1, dead_letter = { topic = dead }, retry = { attempts = 1 },
      handler = function(record)
        return nil, ("%s %s"):format(record.timestamp_type, tostring(record.timestamp == 0))
      end }
    local sent = os.time()
    wait_committed(10, group, topic, 1, consumer)
    seen = read(dead, 1)[1]
    assert.same({ "key", "value", "0.000", "create true" }, { seen.key, seen.value,
      seen.header["strand.timestamp"], seen.header["strand.reason"] })
    assert.is_true(math.abs(seen.timestamp - sent) < 60)
  end)

  -- In one batch with others, which the broker refuses with it.
  local function tight(allow)
    local dead = helper.topic(1, { ["max.message.bytes"] = "3000" })
    local records = poisons(10)
    records[3] = { act = "ask", why = "900 times r", key = "reason", value = ("v"):rep(2000) }
    records[6] = { act = "ask", why = "value", key = "value", value = ("v"):rep(4000) }
    local consumer, events, topic, group = start({
      dead_letter = { topic = dead, allow_value_drop = allow },
      producer = { kafka = { ["linger.ms"] = 200 } } }, records)
    local by = {}
    helper.eventually(20, function() return #consumer:blockers(10) <= 1 end, consumer)
    for _, letter in ipairs(read(dead, allow and 10 or 9)) do by[letter.key] = letter end
    for i = 1, 10 do
      if i ~= 3 and i ~= 6 then
        assert.equal("no. " .. i, by["k" .. i].header["strand.reason"])
      end
    end
    assert.equal("", by.reason.header["strand.reason"])
    assert.equal(2000, #by.reason.value)
    return consumer, events, topic, group, by
  end

  it("that takes no such large record gets it without reason; else it is parked", function()
    local consumer, events, topic, group, by = tight(false)
    assert.is_nil(by.value)
    helper.eventually(10, function() return member.events(events, "parked") == 1 end, consumer)
    local _, event = member.events(events, "parked")
    assert.same({ "value", 5 }, { event.key, event.offset })
    assert.matches("too large; value$", event.reason)
    wait_committed(10, group, topic, 5, consumer)
    helper.eventually(10, function()
      return member.covers(member.committed(group, topic)[0], 9)
    end, consumer)
    assert.is_false(member.covers(member.committed(group, topic)[0], 5))
  end)

  it("that takes no such large record gets it without value, where that is allowed", function()
    local consumer, events, topic, group, by = tight(true)
    assert.is_nil(by.value.value)
    assert.same({ "4000", "" },
      { by.value.header["strand.value_dropped"], by.value.header["strand.reason"] })
    wait_committed(10, group, topic, 10, consumer)
    assert.equal(0, member.events(events, "parked"))
  end)

  it("that refuses a record's time parks that one, and no other of its batch", function()
    local dead = helper.topic(1, { ["message.timestamp.before.max.ms"] = "60000" })
    local consumer, events, topic, group = start({ dead_letter = { topic = dead },
      producer = { kafka = { ["linger.ms"] = 200 } } }, {
      { act = "ask", why = "old", key = "a", timestamp = 1000 },
      { act = "ask", why = "new", key = "b" } })
    helper.eventually(20, function() return member.events(events, "parked") > 0 end, consumer)
    helper.eventually(20, function()
      return member.events(events, "dead_lettered") > 0
    end, consumer)
    local _, event = member.events(events, "parked")
    assert.equal("a", event.key)
    assert.equal("b", read(dead, 1)[1].key)
    assert.equal(0, total(group, topic))
  end)

  it("that its own group reads gets no record twice", function()
    local dead = helper.topic(1)
    local group = helper.name "group"
    local consumer, events, topic = start({ dead_letter = { topic = dead }, group = group },
      poisons(5))
    wait_committed(10, group, topic, 5, consumer)
    local other, others = member.start { group = group .. "-2", topics = { dead },
      handler = "spec.handlers.poison", handler_args = helper.folder(), retry = RETRY,
      dead_letter = { topic = dead } }
    helper.eventually(20, function() return member.events(others, "dead_lettered") == 5 end, other)
    helper.eventually(20, function() return member.events(others, "parked") == 5 end, other)
    assert.equal(0, member.events(events, "parked"))
    local list = read(dead, 10)
    assert.equal(10, #list)
    local again = list[10]
    assert.same({ dead, group .. "-2" },
      { again.header["strand.topic"], again.header["strand.group"] })
    local groups = 0
    for _, header in ipairs(again.headers) do
      if header[1] == "strand.group" then groups = groups + 1 end
    end
    assert.equal(1, groups)
  end)
end)

describe("dead letters that are under way", function()
  local other

  before_each(function() other = assert(strand.mock { brokers = 1, topics = { dead = 1 } }) end)
  after_each(function()
    member.end_all()
    other:close()
  end)

  local function away(options)
    other:down()
    options.dead_letter = { topic = "dead" }
    options.producer = { kafka = { ["bootstrap.servers"] = other.bootstrap_servers } }
    return options
  end

  it("are committed by nobody; after a rebalance who has the records sends them again", function()
    local options = away { revoke_grace = 0.3 }
    local consumer, events, topic, group = start(options, poisons(40), 4)
    helper.eventually(20, function() return #consumer:blockers(40) > 30 end, consumer)
    local heir, others = member.start { group = group, topics = { topic }, retry = RETRY,
      handler = "spec.handlers.poison", handler_args = helper.folder(), commit_interval = 0.05,
      dead_letter = options.dead_letter, producer = options.producer }
    member.wait_assigned(20, heir, 2, consumer)
    member.wait_assigned(20, consumer, 2, heir)
    helper.eventually(20, function() return #heir:blockers(20) > 0 end, consumer, heir)
    assert.equal(0, total(group, topic))
    assert.equal(0, member.events(events, "dead_lettered") + member.events(others, "dead_lettered"))
    other:up()
    wait_committed(30, group, topic, 40, consumer, heir)
    helper.eventually(5, function()
      return member.events(events, "dead_lettered") + member.events(others, "dead_lettered") == 40
    end, consumer, heir)
  end)

  it("are waited for by a rebalance, and committed in it: none is sent twice", function()
    local options = away { revoke_grace = 20 }
    local consumer, events, topic, group = start(options, poisons(40), 4)
    helper.eventually(20, function() return #consumer:blockers(40) > 30 end, consumer)
    local heir, others = member.start { group = group, topics = { topic }, retry = RETRY,
      handler = "spec.handlers.poison", handler_args = helper.folder(), commit_interval = 0.05,
      dead_letter = options.dead_letter, producer = options.producer }
    helper.eventually(20, function()
      return member.events(events, "revoked") > 0
    end, consumer, heir)
    assert.equal(0, #heir:assignment())
    other:up()
    helper.eventually(20, function()
      return member.events(events, "dead_lettered") == 40
    end, consumer, heir)
    member.wait_assigned(20, heir, 2, consumer)
    assert.equal(40, total(group, topic))
    local reader_options, book = letters.reader { "dead" }
    reader_options.group = helper.name "reader"
    reader_options.kafka = { ["bootstrap.servers"] = other.bootstrap_servers }
    book:wait(20, "dead", 40, member.start(reader_options), consumer, heir)
    assert.equal(40, #book:list "dead")
    assert.equal(0, member.events(others, "dead_lettered"))
  end)

  it("at a close are sent by the next consumer of the group", function()
    local options = away {}
    local consumer, _, topic, group = start(options, poisons(10))
    helper.eventually(20, function() return #consumer:blockers(10) == 10 end, consumer)
    local _, _, code, report = consumer:close { timeout = 1.5 }
    assert.equal("TIMED_OUT", code)
    assert.equal(10, #report.unfinished)
    assert.equal(0, total(group, topic))
    other:up()
    local again = member.start { group = group, topics = { topic }, retry = RETRY,
      handler = "spec.handlers.poison", handler_args = helper.folder(), commit_interval = 0.05,
      dead_letter = options.dead_letter, producer = options.producer }
    wait_committed(20, group, topic, 10, again)
  end)

  it("outlive the death of their broker", function()
    local dead = helper.topic(2)
    local consumer, events, topic, group = start({ dead_letter = { topic = dead },
      kafka = { ["session.timeout.ms"] = 30000 } }, poisons(2000), 2)
    helper.eventually(20, function()
      return member.events(events, "dead_lettered") > 0
    end, consumer)
    helper.kafka "kill"
    helper.kafka "restart"
    wait_committed(60, group, topic, 2000, consumer)
    local seen, count = {}, 0
    for _, letter in ipairs(read(dead, 2000)) do
      local reason = letter.header["strand.reason"]
      if not seen[reason] then count = count + 1 end
      seen[reason] = true
    end
    assert.equal(2000, count)
    assert.equal(0, member.events(events, "parked"))
  end)
end)

describe("the producer of dead letters", function()
  after_each(member.end_all)

  local function sasl(mechanism, more)
    local kafka = { ["bootstrap.servers"] = helper.broker_sasl(),
      ["security.protocol"] = "sasl_plaintext", ["sasl.mechanism"] = mechanism }
    for name, value in pairs(more or {}) do kafka[name] = value end
    return kafka
  end

  it("has the consumer's own connection and password", function()
    local dead = helper.topic(1)
    local consumer, _, topic, group = start({ dead_letter = { topic = dead }, kafka = sasl("PLAIN",
      { ["sasl.username"] = "strand", ["sasl.password"] = "secret" }) }, poisons(3))
    wait_committed(20, group, topic, 3, consumer)
    assert.equal(3, #read(dead, 3))
  end)

  local plain = { ["bootstrap.servers"] = helper.broker(), ["security.protocol"] = "plaintext" }
  for name, options in pairs {
    ["has the consumer's tokens"] = { kafka = sasl "OAUTHBEARER" },
    ["needs no token where the consumer does"] = { kafka = sasl "OAUTHBEARER",
      producer = { kafka = plain } },
    ["has tokens where the consumer needs none"] = { producer = { kafka = sasl "OAUTHBEARER" } },
  } do
    it(name, function()
      local dead, asked = helper.topic(1), 0
      options.dead_letter = { topic = dead }
      options.oauth_token = function()
        asked = asked + 1
        return token(os.time() + 600), os.time() + 600, "strand"
      end
      local consumer, _, topic, group = start(options, poisons(3))
      wait_committed(20, group, topic, 3, consumer)
      assert.equal(3, #read(dead, 3))
      assert.is_true(asked > 0 and asked < 5)
    end)
  end
end)
