-- What is subscribed is somebody's, or it is said.
--
-- librdkafka joins when any broker knows a topic. The leader of the group asks
-- the coordinator; where that one does not know the topic yet, it is assigned
-- to nobody, without an error, and stayed so for ever: health() was true.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local unpack = table.unpack or unpack

local function keyed(i) return { key = "key" .. i % 20, value = tostring(i) } end

local function code_of_health(consumer) return (select(3, consumer:health())) end

local function has(consumer, topic, count)
  local found = 0
  for _, place in ipairs(consumer:assignment()) do
    if place.topic == topic then found = found + 1 end
  end
  return found == count
end

-- Its input: closed, the program ends.
local function spawn(sign, name, ...)
  local words = { member.program(name) }
  for i = 1, select("#", ...) do words[#words + 1] = "'" .. tostring((select(i, ...))) .. "'" end
  local process = assert(io.popen(table.concat(words, " ") .. " > " .. sign, "w"))
  return process
end

describe("a topic that exists", function()
  local foreign

  after_each(function()
    if foreign then foreign:close() end
    foreign = nil
    member.end_all()
  end)

  -- Another client leads the group, and assigns the topic to nobody.
  it("and is nobody's is an event, and health says so, until somebody has it", function()
    local old, topic, group = helper.topic(2), helper.topic(2), helper.name "group"
    local sign, log = helper.folder() .. "/sign", audit.new()
    foreign = spawn(sign, "tool", "ignore", helper.broker(), group, old, topic)
    helper.eventually(20, function() return (helper.read(sign) or ""):find "assigned 2" end)
    local consumer, events, lines = member.start { group = group, topics = { topic }, audit = log }
    helper.eventually(20, function()
      return member.events(events, "topic_unassigned", { topic = topic }) > 0
    end, consumer)
    local _, event = member.events(events, "topic_unassigned")
    assert.same({ "TOPIC_UNASSIGNED", "it exists, and no member of the group has it" },
      { event.code, event.reason })
    helper.eventually(5, function() return code_of_health(consumer) == "TOPIC_UNASSIGNED" end,
      consumer)
    assert.matches(topic, (select(2, consumer:health())), 1, true)
    -- 1, 2, 4 s: tried again, and ever more rarely
    helper.eventually(30, function() return consumer:stats().rebalances >= 3 end, consumer)
    local tries = 0
    for _, line in ipairs(lines) do
      if line:find("subscribes again", 1, true) then tries = tries + 1 end
    end
    assert.is_true(tries >= 2 and tries <= 5, tries .. " tries")
    assert.is_true(member.events(events, "topic_unassigned") <= 2)
    foreign:close()
    foreign = nil
    local sent = audit.send(topic, 20, keyed)
    log:wait(30, 20, consumer)
    assert.same(audit.GOOD, log:result(sent))
    helper.eventually(30, function() return consumer:health() end, consumer)
  end)

  it("and is another member's is none", function()
    local topic, group = helper.topic(1), helper.name "group"
    local one, events = member.start { group = group, topics = { topic }, audit = audit.new() }
    helper.eventually(20, function() return has(one, topic, 1) end, one)
    local before = member.events(events, "topic_unassigned") -- it is new
    local two, others = member.start { group = group, topics = { topic }, audit = audit.new() }
    helper.eventually(20, function() return two:health() end, one, two)
    local over = require "system".monotime() + 4
    helper.eventually(10, function() return require "system".monotime() > over end, one, two)
    assert.equal(before, member.events(events, "topic_unassigned"))
    assert.equal(0, member.events(others, "topic_unassigned"))
    assert.equal(0, member.events(others, "member_idle")) -- the other might have crashed, or be replaced
    assert.is_true(one:health())
    assert.is_true(two:health())
    assert.is_true(two:stats().rebalances <= 3)
  end)
end)

describe("a member for which no partition is left", function()
  after_each(member.end_all)

  it("says so once when a session has passed, with the numbers, and is well", function()
    local topic, group, all, consumers = helper.topic(1), helper.name "group", {}, {}
    local function join()
      consumers[#consumers + 1], all[#all + 1] = member.start { group = group, topics = { topic },
        audit = audit.new() }
    end
    local function until_told(count)
      helper.eventually(60, function()
        local sum = 0
        for _, events in ipairs(all) do sum = sum + member.events(events, "member_idle") end
        return sum == count
      end, unpack(consumers))
    end
    for _ = 1, 3 do join() end
    until_told(2)
    for i, consumer in ipairs(consumers) do
      assert.is_true(consumer:health())
      local _, event = member.events(all[i], "member_idle")
      if event then
        assert.same({ "MEMBER_IDLE", "no partition is left for it: the group has 3 members, and the "
          .. "topics have 1 partition" }, { event.code, event.reason })
      end
    end
    join() -- whoever has nothing now and had something before, or is new, says it: nobody else
    until_told(3)
    for _, events in ipairs(all) do
      assert.is_true(member.events(events, "member_idle") <= 1)
    end
  end)
end)

describe("a pattern that all names match", function()
  after_each(member.end_all)

  local function names_of(consumer)
    local names = {}
    for _, place in ipairs(consumer:assignment()) do names[place.topic] = true end
    return names
  end

  -- Each commit is a record of it, which would be handled, and committed...
  it("does not find what the group itself commits", function()
    local topic, log = helper.topic(1), audit.new()
    local pattern = "^(__.*|" .. topic .. ")$"
    local consumer = member.start { group = helper.name "group", topics = { pattern },
      audit = log, commit_interval = 0.1 }
    local sent = audit.send(topic, 20, keyed)
    log:wait(30, 20, consumer)
    assert(consumer:commit())
    helper.eventually(5, function() return names_of(consumer)[topic] end, consumer)
    assert.same({ [topic] = true }, names_of(consumer))
    assert.same(audit.GOOD, log:result(sent))
  end)

  it("does when it is named", function()
    local topic = helper.topic(1)
    local first = member.start { group = helper.name "group", topics = { topic },
      audit = audit.new() } -- now there are commits to store
    helper.eventually(30, function() return has(first, topic, 1) end, first)
    local consumer = member.start { group = helper.name "group", audit = audit.new(),
      topics = { "^" .. topic .. "$", "__consumer_offsets" } }
    helper.eventually(30, function()
      local names = names_of(consumer)
      return names[topic] and names["__consumer_offsets"]
    end, consumer)
  end)
end)

describe("a pattern that finds nothing", function()
  after_each(member.end_all)

  -- librdkafka looks again after five minutes.
  it("is told, and looked at again like a name that is missing", function()
    local prefix, log = helper.name "later", audit.new()
    local consumer, events = member.start { group = helper.name "group",
      topics = { "^" .. prefix }, audit = log }
    helper.eventually(20, function()
      return member.events(events, "topic_missing", { topic = "^" .. prefix }) > 0
    end, consumer)
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(admin:create_topics { [prefix .. ".one"] = 1 })
    admin:close()
    local sent = audit.send(prefix .. ".one", 10, keyed)
    log:wait(40, 10, consumer)
    assert.same(audit.GOOD, log:result(sent))
  end)
end)
