-- Topics, groups and ids that somebody may not use: whose records end by that,
-- what is only told and tried again, and that a right which comes later heals.
-- A topic that may be described and not written to is the hard case: in a
-- transaction librdkafka then names no record and no topic.
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local member = require "spec.support.member"
local node = require "spec.support.node"
local strand = require "strand"

local LIMIT = 60
local PARTITIONS = 2
local AUTHORIZER = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"

local broker, close, admin

-- A record's value names the topics that it goes to, or asks to fail.
local function produce(record, context)
  for topic in record.value:gmatch "%S+" do
    if topic == "fail" then error("asked to fail", 0) end
    context:produce { topic = topic, key = record.key, value = record.key }
  end
end

local function make(prefix)
  return helper.topic_by(admin, prefix, PARTITIONS)
end

-- May be read by anybody, and written to by nobody.
local function make_closed(prefix)
  local topic = make(prefix)
  member.tool_at(broker, "acl", "allow", "topic", topic, "read")
  return topic
end

local function open_to_all(topic)
  member.tool_at(broker, "acl", "forget", "topic", topic, "all")
end

local function send(topic, values)
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = broker } })
  for i, value in ipairs(values) do
    assert(producer:send { topic = topic, key = "key" .. i, value = value })
  end
  assert(producer:flush(20))
  producer:close()
end

local function start(topic, options)
  options.group, options.topics, options.handler = topic, { topic }, produce
  options.kafka = { ["bootstrap.servers"] = broker }
  options.producer = { kafka = { ["topic.metadata.refresh.interval.ms"] = 1000 } }
  if options.delivery == "exactly_once" then
    options.transactional_id, options.transaction_interval = topic, 0.1
  else
    options.commit_interval = 0.1
  end
  if options.delivery ~= "at_most_once" then options.retry = { attempts = 2, delay = 0.01 } end
  return member.start(options)
end

-- The keys that a reader of committed records sees, in their order.
local function keys_in(topic)
  local path, list = helper.folder() .. "/read", {}
  for partition = 0, PARTITIONS - 1 do
    os.execute(("%s read %s %s %d committed > %s"):format(member.program "tool", broker, topic,
      partition, path))
    for line in io.lines(path) do list[#list + 1] = line end
  end
  table.sort(list)
  return list
end

-- Not by the committed offset: at most once that comes first.
local function wait_done(count, consumer)
  helper.eventually(LIMIT, function()
    local stats = consumer:stats()
    return stats.done + stats.skipped + stats.dead_lettered == count
  end, consumer)
end

setup(function()
  local _
  broker, _, close = node("allow.everyone.if.no.acl.found=true\n" .. AUTHORIZER)
  admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
end)
teardown(function()
  admin:close()
  close()
end)
after_each(member.end_all)

describe("a topic that may not be written to", function()
  for _, delivery in ipairs { "at_least_once", "at_most_once", "exactly_once" } do
    it("ends its own records, without another attempt, " .. delivery, function()
      local topic, good, dead = make "topic", make "good", make "dead"
      local closed, hidden = make_closed "closed", make "hidden"
      member.tool_at(broker, "acl", "deny", "topic", hidden, "all")
      local values = {}
      for i = 1, 40 do
        values[i] = i % 10 == 1 and closed or i % 10 == 4 and good .. " " .. closed
          or i % 10 == 7 and hidden or good
      end
      send(topic, values)
      local consumer, events = start(topic, { delivery = delivery, dead_letter = { topic = dead } })
      wait_done(#values, consumer)
      local options, book = letters.reader { dead }
      options.group, options.kafka = helper.name "reader", { ["bootstrap.servers"] = broker }
      local by_reason = {}
      for _, letter in ipairs(book:wait(20, dead, 12, (member.start(options)))) do
        local reason = letter.header["strand.reason"]
        by_reason[reason] = (by_reason[reason] or 0) + 1
        assert.equal("1", letter.header["strand.attempts"])
      end
      local text = "output to topic '%s' refused: Broker: Topic authorization failed"
      assert.same({ [text:format(closed)] = 8, [text:format(hidden)] = 4 }, by_reason)
      -- what else such a record has produced: in no transaction, or sent all the same
      local count = #keys_in(good)
      assert.is_true(delivery == "exactly_once" and count == 28
        or delivery ~= "exactly_once" and count >= 28 and count <= 32, count .. " outputs")
      assert.equal(0, member.events(events, "commit_failed"))
      assert.is_true(consumer:health())
    end)

    it("takes records from when the right is given, " .. delivery, function()
      local topic, good, closed = make "topic", make "good", make_closed "closed"
      send(topic, { closed, good, good, closed })
      local consumer, events = start(topic, { delivery = delivery, exhausted = "skip" })
      wait_done(4, consumer)
      helper.eventually(LIMIT, function()
        return member.events(events, "record_failed") == 2
      end, consumer)
      assert.same({}, keys_in(closed))
      open_to_all(closed)
      local sent = 4
      helper.eventually(LIMIT, function()
        send(topic, { closed, good })
        sent = sent + 2
        wait_done(sent, consumer)
        return #keys_in(closed) > 0
      end, consumer)
      -- and from then on all of them
      local before = #keys_in(closed)
      send(topic, { closed, closed, closed })
      wait_done(sent + 3, consumer)
      assert.equal(before + 3, #keys_in(closed))
    end)
  end

  for _, delivery in ipairs { "at_least_once", "exactly_once" } do
    it("parks the record of a dead letter, and no other, " .. delivery, function()
      local topic, good, dead = make "topic", make "good", make_closed "dead"
      local values = {}
      for i = 1, 20 do values[i] = i % 5 == 0 and "fail" or good end
      send(topic, values)
      local consumer, events = start(topic, { delivery = delivery, dead_letter = { topic = dead } })
      helper.eventually(LIMIT, function() return consumer:stats().parked == 4 end, consumer)
      helper.eventually(LIMIT, function() return #keys_in(good) == 16 end, consumer)
      local event = helper.eventually(LIMIT, function()
        return select(2, member.events(events, "parked"))
      end, consumer)
      assert.matches("Topic authorization failed", event.reason, 1, true)
      assert.same({}, keys_in(dead))
      -- and when the right is there they can be sent
      open_to_all(dead)
      helper.eventually(LIMIT, function()
        for record in consumer:parked() do consumer:resolve(record, "dead_letter") end
        return consumer:stats().dead_lettered == 4
      end, consumer)
      assert.equal(4, #keys_in(dead))
    end)
  end

  it("is found among many, and what else is in the transaction goes on in its order", function()
    local topic, closed, topics = make "topic", make_closed "closed", {}
    for i = 1, 12 do topics[i] = make "good" end
    local values = {}
    for i = 1, 240 do values[i] = i % 60 == 0 and closed or topics[i % 12 + 1] end
    send(topic, values)
    local consumer, events = start(topic, { delivery = "exactly_once", exhausted = "skip",
      transaction_records = 1000 })
    wait_done(#values, consumer)
    helper.eventually(LIMIT, function()
      return member.events(events, "record_failed") == 4
    end, consumer)
    local seen = 0
    for _, name in ipairs(topics) do seen = seen + #keys_in(name) end
    assert.equal(236, seen)
  end)
end)

describe("rights that are not a record's", function()
  it("of the group are told, and tried again until they are given back", function()
    local topic, good = make "topic", make "good"
    send(topic, { good, good })
    local consumer, events = start(topic, { delivery = "exactly_once" })
    wait_done(2, consumer)
    member.tool_at(broker, "acl", "deny", "group", topic, "read")
    send(topic, { good, good })
    helper.eventually(LIMIT, function()
      return member.events(events, "commit_failed") + member.events(events, "auth_failed") > 0
    end, consumer)
    assert.equal(0, member.events(events, "record_failed"))
    member.tool_at(broker, "acl", "forget", "group", topic, "read")
    wait_done(4, consumer)
    assert.equal(4, #keys_in(good))
    helper.eventually(LIMIT, function() return consumer:health() end, consumer)
  end)

  -- Who has a name here has only the rights that are given.
  it("of the transactional id end the consumer", function()
    local own, _, close_own, folder = node("super.users=User:ANONYMOUS\n" .. AUTHORIZER)
    finally(close_own)
    local topic = helper.name "topic"
    local maker = assert(strand.admin { kafka = { ["bootstrap.servers"] = own } })
    assert(maker:create_topics { [topic] = 1 })
    maker:close()
    member.tool_at(own, "acl", "allow", "topic", topic, "all")
    member.tool_at(own, "acl", "allow", "group", topic, "all")
    local consumer = member.start { group = topic, topics = { topic }, handler = produce,
      delivery = "exactly_once", transactional_id = topic, producer = {}, kafka = {
        ["bootstrap.servers"] = helper.read(folder .. "/sasl_address"):match "%S+",
        ["security.protocol"] = "SASL_PLAINTEXT", ["sasl.mechanism"] = "PLAIN",
        ["sasl.username"] = "strand", ["sasl.password"] = "secret" } }
    local _, message, code = consumer:run()
    assert.equal("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", code, message)
  end)
end)
