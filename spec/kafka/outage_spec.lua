-- Brokers answer, and yet the group cannot be joined, a leader is away, a
-- topic is gone, somebody else has the instance id. Nodes with settings of
-- their own are started by the tests that need them.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local node = require "spec.support.node"
local strand = require "strand"
local system = require "system"

local function keyed(i) return { key = "key" .. i, value = tostring(i) } end

local function health(consumer)
  local ok, reason, code = consumer:health()
  return ok and "OK" or code, reason
end

local function admin_of(broker)
  return assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
end

-- Waits for the event, and says after how long it came.
local function seconds_until(limit, events, type, fields, ...)
  local objects = { ... }
  return helper.seconds(helper.eventually, limit, function()
    return member.events(events, type, fields) > 0
  end, (table.unpack or unpack)(objects))
end

describe("a topic that is deleted", function()
  after_each(member.end_all)

  it("is an event within seconds, and again only with back-off", function()
    local topic, log = helper.topic(3), audit.new()
    local sent = audit.send(topic, 9, keyed)
    local consumer, events = member.start { group = helper.name "group", topics = { topic }, audit = log }
    log:wait(20, #sent, consumer)
    assert(consumer:commit())
    local admin = admin_of(helper.broker())
    assert(admin:delete_topics { topic })
    admin:close()
    local seconds = seconds_until(30, events, "topic_missing", { topic = topic }, consumer)
    assert.is_true(seconds < 8 + helper.late, ("after %.1f s"):format(seconds))
    pcall(helper.eventually, 5, function() return false end, consumer)
    local told -- again after ten seconds, and not before
    for _, event in ipairs(events) do
      if event.type == "topic_missing" then
        assert.is_true(told == nil or event.time - told > 9)
        told = event.time
      end
    end
    assert.equal(0, member.events(events, "error"))
  end)
end)

describe("an instance id that somebody else takes", function()
  after_each(member.end_all)

  it("loses each partition, and says so", function()
    local topic, group = helper.topic(3), helper.name "group"
    local options = { group = group, topics = { topic }, audit = audit.new(),
      kafka = { ["group.instance.id"] = "twin" } }
    local one, events = member.start(options)
    member.wait_assigned(20, one, 3)
    local other = member.open(options)
    assert(other:start())
    local result = { one:run() }
    assert.equal("FENCED_INSTANCE_ID", result[3])
    assert.equal(3, member.events(events, "lost"))
    assert.equal(0, member.events(events, "revoked"))
    assert.equal(0, member.events(events, "error"))
  end)
end)

describe("a group that cannot be joined", function()
  after_each(member.end_all)

  it("for want of a coordinator is an event that says so, and ends when there is one", function()
    local broker, kafka, close = node("offsets.topic.replication.factor=3\ngroup.max.size=1")
    finally(close)
    local topic, admin = helper.name "topic", admin_of(broker)
    assert(admin:create_topics { [topic] = 2 })
    admin:close()
    local options = { group = helper.name "group", topics = { topic }, audit = audit.new(),
      kafka = { ["bootstrap.servers"] = broker } }
    local one, events = member.start(options)
    assert.equal("NOT_ASSIGNED", health(one))
    local seconds = seconds_until(45, events, "join_failed", nil, one)
    assert.is_true(seconds > 8 and seconds < 20 + helper.late, ("after %.1f s"):format(seconds))
    local _, event = member.events(events, "join_failed")
    assert.equal("COORDINATOR_NOT_AVAILABLE", event.code)
    assert.matches("coordinator", event.reason, 1, true)
    assert.equal("CANNOT_JOIN", health(one))
    assert.equal(0, member.events(events, "unreachable"))
    kafka("set", "", "offsets.topic.replication.factor=1")
    kafka("restart", "")
    helper.eventually(60, function() return one:health() end, one)
    -- and when it is full, by a member that is one too many
    local two, told = member.start(options)
    helper.eventually(20, function() return member.events(told, "error") > 0 end, two)
    seconds_until(45, told, "join_failed", { code = "GROUP_MAX_SIZE_REACHED" }, one, two)
    local code, reason = health(two)
    assert.equal("CANNOT_JOIN", code)
    assert.matches("maximum size", reason, 1, true)
    pcall(helper.eventually, 8, function() return false end, one, two)
    assert.is_true(member.events(told, "error") <= 2, member.events(told, "error") .. " errors")
    assert.is_true(member.events(told, "join_failed") <= 2)
    assert.is_true(one:health())
    assert(one:close())
    helper.eventually(40, function() return two:health() end, two)
  end)

  it("for its address leads nowhere is an event that says so", function()
    local broker, _, close =
      node "advertised.listeners=PLAINTEXT://127.0.0.1:1,SASL://127.0.0.1:2"
    finally(close)
    local consumer, events = member.start { group = helper.name "group", topics = { "topic" },
      audit = audit.new(), kafka = { ["bootstrap.servers"] = broker } }
    local seconds = seconds_until(45, events, "join_failed", nil, consumer)
    assert.is_true(seconds > 8 and seconds < 25 + helper.late, ("after %.1f s"):format(seconds))
    local _, event = member.events(events, "join_failed")
    assert.matches("COORDINATOR", event.code, 1, true)
    assert.equal("CANNOT_JOIN", health(consumer))
  end)
end)

describe("a transaction coordinator that is not there", function()
  after_each(member.end_all)

  it("is what health() says, until it is there", function()
    local broker, kafka, close = node "transaction.state.log.replication.factor=3"
    finally(close)
    local topic, admin = helper.name "topic", admin_of(broker)
    assert(admin:create_topics { [topic] = 1 })
    admin:close()
    local consumer, events = member.start { group = helper.name "group", topics = { topic },
      audit = audit.new(), delivery = "exactly_once", transactional_id = topic,
      kafka = { ["bootstrap.servers"] = broker } }
    helper.eventually(45, function() return health(consumer) == "CANNOT_TRANSACT" end, consumer)
    local _, reason = health(consumer)
    assert.matches("transactions wait: ", reason, 1, true)
    helper.eventually(10, function()
      return member.events(events, "error", { code = "CANNOT_TRANSACT" }) > 0
    end, consumer)
    kafka("set", "", "transaction.state.log.replication.factor=1")
    kafka("restart", "")
    helper.eventually(60, function() return consumer:health() end, consumer)
  end)
end)

describe("a leader that dies", function()
  after_each(member.end_all)

  it("is an event that names its partitions, and ends with its return", function()
    local broker, kafka, close = node("min.insync.replicas=1", 3)
    finally(close)
    local topic, admin, log = helper.name "topic", admin_of(broker), audit.new()
    assert(admin:create_topics({ [topic] = { partitions = 3, replication = 1 } }, 90))
    admin:close()
    local consumer, events = member.start { group = helper.name "group", topics = { topic },
      audit = log, kafka = { ["bootstrap.servers"] = broker } }
    member.wait_assigned(40, consumer, 3)
    local begun = system.monotime()
    kafka("kill", ".3")
    seconds_until(60, events, "leader_missing", nil, consumer)
    local seconds = system.monotime() - begun
    assert.is_true(seconds > 8 and seconds < 30 + helper.late, ("after %.1f s"):format(seconds))
    local _, event = member.events(events, "leader_missing")
    assert.equal(topic, event.topic)
    local _, named = event.reason:gsub("topic%-", "")
    assert.equal(1, named)
    local code, reason = health(consumer)
    assert.equal("NO_LEADER", code)
    assert.matches(topic .. "/" .. event.partition, reason, 1, true)
    assert.equal(0, member.events(events, "unreachable"))
    kafka("restart", ".3")
    helper.eventually(60, function() return consumer:health() end, consumer)
  end)
end)

describe("a right that is taken away", function()
  after_each(member.end_all)

  it("is not well until it is given back, to commit and to read", function()
    local broker, _, close = node("allow.everyone.if.no.acl.found=true\n"
      .. "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer")
    finally(close)
    local topic, group, log = helper.name "topic", helper.name "group", audit.new()
    local admin = admin_of(broker)
    assert(admin:create_topics { [topic] = 1 })
    admin:close()
    local consumer, events = member.start { group = group, topics = { topic }, audit = log,
      commit_interval = 0.2, kafka = { ["bootstrap.servers"] = broker } }
    member.wait_assigned(20, consumer, 1)
    local function send()
      local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = broker } })
      assert(producer:send_wait { topic = topic, key = "a" })
      producer:close()
    end
    local function holds(seconds, ...)
      local over, codes = system.monotime() + seconds, {}
      for _, code in ipairs { ... } do codes[code] = true end
      helper.eventually(seconds + 5, function()
        local now = health(consumer)
        if not codes[now] then error("health is " .. now) end
        return system.monotime() > over
      end, consumer)
    end
    member.tool_at(broker, "acl", "deny", "group", group, "read")
    send()
    helper.eventually(20, function() return member.events(events, "commit_failed") > 0 end, consumer)
    local code, reason = health(consumer)
    assert.is_true(code == "COMMIT_FAILS" or code == "AUTH", code)
    assert.matches("authorization failed", reason, 1, true)
    holds(5, "COMMIT_FAILS", "AUTH") -- a heartbeat is refused, too
    member.tool_at(broker, "acl", "forget", "group", group, "read")
    helper.eventually(60, function() return consumer:health() end, consumer)
    assert(consumer:commit())
    -- to read: the partition is idle, and idle it is well again
    -- (to join, where a heartbeat was refused, was an event already)
    local told = member.events(events, "auth_failed")
    member.tool_at(broker, "acl", "allow", "topic", topic, "describe")
    helper.eventually(20, function() return member.events(events, "auth_failed") > told end,
      consumer)
    holds(15, "AUTH")
    member.tool_at(broker, "acl", "forget", "topic", topic, "all")
    helper.eventually(30, function() return consumer:health() end, consumer)
    assert.is_true(member.events(events, "auth_failed") - told <= 3)
    local ended = log:read().ends
    send()
    log:wait(20, ended + 1, consumer)
  end)
end)

describe("a quota", function()
  after_each(member.end_all)

  it("is an event, and not one for each answer", function()
    local topic, group, log = helper.topic(1), helper.name "group", audit.new()
    local ok = os.execute(("java -cp 'build/kafka/%s/lib/*' kafka.admin.ConfigCommand"
      .. " --bootstrap-server %s --alter --add-config consumer_byte_rate=2000"
      .. " --entity-type clients --entity-name %s > /dev/null 2>&1"):format(
        os.getenv "KAFKA_VERSION", helper.broker(), group))
    assert(ok == true or ok == 0, "no quota")
    audit.send(topic, 100, function(i) return { key = "key" .. i, value = ("x"):rep(1000) } end)
    local consumer, events = member.start { group = group, topics = { topic }, audit = log,
      kafka = { ["client.id"] = group, ["fetch.message.max.bytes"] = 10000 } }
    helper.eventually(30, function() return member.events(events, "throttled") > 0 end, consumer)
    -- It goes on, and is told with back-off: again after 10 s. On a busy machine
    -- this may take so long.
    local over = system.monotime() + 5
    helper.eventually(10, function() return system.monotime() > over end, consumer)
    local before
    for _, event in ipairs(events) do
      if event.type == "throttled" then
        assert.matches("quota", event.reason, 1, true)
        assert.is_true(not before or event.time - before > 9.9, event.time - (before or 0))
        before = event.time
      end
    end
    assert.is_number(before)
    assert.is_true(consumer:health())
  end)
end)
