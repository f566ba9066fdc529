-- A broker takes less metadata than max_metadata says: its refusal is learnt
-- from, commits go on, and an event says what to set.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"

local TAKES = 200 -- characters; what is done here needs some 500 of them

-- Whether record i is among a half of all, the same each time.
local function half(i)
  return i * 16807 % 2147483647 * 48271 % 2147483647 % 2 == 0
end

-- The first record and about a half of the others are parked.
local function heavy(i)
  return { key = "key" .. i, value = (i == 1 or half(i)) and "fail 1" or "" }
end

-- Commits when it is asked to, or when it has been idle for half a second: once
-- all that may run has run.
local function options_of(group, topics, log)
  return { group = group, topics = topics, workers = 4, commit_interval = 3600, audit = log,
    retry = { attempts = 1 }, exhausted = "park" }
end

local function discard_all(consumer)
  local list = {}
  for record in assert(consumer:parked()) do list[#list + 1] = record end
  for _, record in ipairs(list) do assert(consumer:resolve(record, "discard")) end
end

-- Waits until each record has been handled once.
local function wait_handled(log, consumer, count)
  helper.eventually(30, function()
    return log:read().starts >= count and consumer:stats().in_flight == 0
  end, consumer)
end

local function covered(entry, sent, log)
  local count = 0
  for _, record in ipairs(sent) do
    if member.covers(entry, record.offset) then
      assert((log.done[record.id] or 0) > 0, "not done, but the commit says so: " .. record.id)
      count = count + 1
    end
  end
  return count
end

describe("a broker that takes less metadata than max_metadata", function()
  setup(function()
    helper.kafka("set", "offset.metadata.max.bytes=" .. TAKES)
    helper.kafka "restart"
  end)
  teardown(function()
    helper.kafka("set", "offset.metadata.max.bytes=4096")
    helper.kafka "restart"
  end)
  after_each(member.end_all)

  it("gets as much as it takes, and all when that fits again", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    local sent = audit.send(topic, 3000, heavy)
    local consumer, events = member.start(options_of(group, { topic }, log))
    wait_handled(log, consumer, #sent)
    local done, message, code = consumer:commit()
    assert.same({ nil, "METADATA_UNWRITABLE" }, { done, code })
    assert.matches(topic .. "/0", message, 1, true)
    local entry = member.committed(group, topic)[0]
    assert.is_true(entry ~= nil, "nothing was committed")
    assert.equal(0, entry.offset)
    assert.is_true(#entry.metadata > TAKES / 4 and #entry.metadata <= TAKES)
    assert.is_true(covered(entry, sent, log) > 200)
    helper.eventually(5, function() return member.events(events, "metadata_unwritable") > 0 end,
      consumer)
    local count, event = member.events(events, "metadata_unwritable")
    assert.equal(1, count)
    assert.same({ topic, 0, 0 }, { event.topic, event.partition, event.offset })
    assert.matches("max_metadata (now 4096)", event.reason, 1, true)
    assert.matches("offset.metadata.max.bytes", event.reason, 1, true)
    assert.equal(0, member.events(events, "commit_failed"))
    helper.eventually(5, function()
      local part = consumer:stats().partitions[1] -- none in a rebalance
      local limit = part and part.metadata_limit
      return limit and limit >= TAKES / 4 and limit <= TAKES
    end, consumer)

    discard_all(consumer)
    helper.eventually(20, function()
      return member.committed(group, topic)[0].offset == #sent
    end, consumer)
    helper.eventually(5, function()
      return member.events(events, "metadata_writable") == 1
    end, consumer)
    assert(consumer:commit())

    -- From now on no more starts than what fits.
    local refused = consumer:stats().commits_failed
    audit.send(topic, 3000, heavy)
    helper.eventually(20, function()
      return member.events(events, "partition_blocked", { reason = "metadata" }) > 0
    end, consumer)
    assert(consumer:commit())
    entry = member.committed(group, topic)[0]
    assert.equal(#sent, entry.offset)
    assert.is_true(#entry.metadata > 0 and #entry.metadata <= TAKES)
    assert.equal(refused, consumer:stats().commits_failed)
    assert.equal(1, member.events(events, "metadata_unwritable"))
  end)

  it("is told of its neighbours, which commit", function()
    local topic, light = helper.topic(1), helper.topic(10)
    local log, group = audit.new(), helper.name "group"
    local sent = audit.send(topic, 3000, heavy)
    local others = audit.send(light, 500, function(i) return { key = "key" .. i, value = "" } end)
    local options = options_of(group, { topic, light }, log)
    -- Nothing is committed because of idleness: one record runs on.
    others[#others + 1] = audit.send(light, 1, function() return { value = "gate one" } end)[1]
    local consumer, events = member.start(options)
    helper.eventually(30, function() return log:read().starts >= #sent + #others end, consumer)
    helper.eventually(10, function() return consumer:stats().in_flight == 1 end, consumer)
    local _, _, code = consumer:commit()
    assert.equal("METADATA_UNWRITABLE", code)
    local failed, event = member.events(events, "commit_failed")
    assert.equal(1, failed)
    assert.equal("OFFSET_METADATA_TOO_LARGE", event.code)
    assert.matches("commit of 11 partitions (", event.reason, 1, true)
    local _, names = event.reason:gsub("/%d", "")
    assert.equal(8, names)
    assert.matches(" and 3 more)", event.reason, 1, true)
    local committed, total = member.committed(group, light), 0
    for partition = 0, 9 do total = total + committed[partition].offset end
    assert.is_true(total >= 500, "of the others: " .. total)
    assert.is_true(covered(member.committed(group, topic)[0], sent, log) > 200)
    log:open "one"
    local closed, message, why, report = consumer:close()
    assert.same({ nil, "METADATA_UNWRITABLE" }, { closed, why })
    assert.matches(topic .. "/0", message, 1, true)
    assert.is_false(report.detached)
  end)

  -- What fits is searched for inside the rebalance, partition by partition.
  it("hears of what is done in a rebalance, too", function()
    local topic, log, group = helper.topic(3), audit.new(), helper.name "group"
    local sent = audit.send(topic, 9000, heavy)
    sent[#sent + 1] = audit.send(topic, 1, function() return { value = "gate one" } end)[1]
    local options = options_of(group, { topic }, log)
    options.revoke_grace = 0
    local consumer = member.start(options)
    helper.eventually(30, function() return log:read().starts >= #sent end, consumer)
    helper.eventually(10, function() return consumer:stats().in_flight == 1 end, consumer)
    assert.same({}, member.committed(group, topic))
    options.handler_args = { slow = 0.2 } -- not idle for long: it commits nothing
    local second = member.start(options)
    helper.eventually(30, function()
      return #consumer:assignment() + #second:assignment() == 3 and #second:assignment() > 0
    end, consumer, second)
    local entries = member.committed(group, topic)
    for partition = 0, 2 do
      local told = 0
      for _, record in ipairs(sent) do
        if record.partition == partition and member.covers(entries[partition], record.offset) then
          told = told + 1
        end
      end
      assert.is_true(told > 200, ("partition %d: %d"):format(partition, told))
    end
    log:open "one"
  end)

  it("has a crash repeat what did not fit, and nothing else", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    local sent = audit.send(topic, 3000, heavy)
    local options = options_of(group, { topic }, log)
    local child = member.spawn(options)
    helper.eventually(30, function() return log:read().starts >= #sent end)
    helper.eventually(20, function()
      return covered(member.committed(group, topic)[0], sent, log) > 200
    end)
    child:signal "KILL"
    assert.equal(128 + 9, child:wait(10))
    local entry = member.committed(group, topic)[0]
    local starts, told = log:read().starts, covered(entry, sent, log)
    local consumer = member.start(options)
    helper.eventually(40, function()
      return log:read().starts >= starts + #sent - told
    end, consumer)
    for _, record in ipairs(sent) do
      if member.covers(entry, record.offset) then assert.equal(1, log.done[record.id]) end
    end
  end)

  it("keeps an exactly once partition from all commits, which is a problem until it fits", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    local sent = audit.send(topic, 3000, heavy)
    local options = options_of(group, { topic }, log)
    options.commit_interval, options.delivery, options.transactional_id = nil, "exactly_once", group
    options.producer = {}
    local consumer, events = member.start(options)
    helper.eventually(60, function()
      local healthy, _, code = consumer:health()
      return not healthy and code == "METADATA_UNWRITABLE"
    end, consumer)
    assert.equal(1, member.events(events, "metadata_unwritable"))
    discard_all(consumer)
    helper.eventually(60, function()
      return (member.committed(group, topic)[0] or { offset = 0 }).offset == #sent
    end, consumer)
    helper.eventually(10, function() return consumer:health() end, consumer)
  end)
end)
