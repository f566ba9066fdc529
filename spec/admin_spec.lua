-- The admin beside the mock cluster, which speaks few of its requests: what
-- cannot be done is said at once.
local helper = require "spec.support.helper"
local strand = require "strand"

describe("an admin", function()
  local admin

  setup(function()
    admin = assert(strand.admin { kafka = {
      ["bootstrap.servers"] = helper.mock().bootstrap_servers } })
  end)
  teardown(function()
    admin:close()
    helper.end_children()
    helper.close_cluster()
  end)

  local function refused(call)
    local seconds, ok, message, code = helper.seconds(call)
    assert.is_nil(ok)
    assert.matches("mock", message, 1, true)
    assert.equal("UNSUPPORTED_FEATURE", code)
    assert.is_true(seconds < 2 + helper.late)
  end

  it("says at once what the mock cluster cannot do", function()
    refused(function() return admin:create_topics { orders = 3 } end)
    refused(function() return admin:delete_topics { "orders" } end)
    refused(function() return admin:group_offsets "group" end)
    local topic = helper.topic(1)
    refused(function() return admin:create_partitions { [topic] = 3 } end)
    refused(function() return admin:describe { topics = { topic }, configs = true } end)
    refused(function() return admin:describe { topics = {}, brokers = { 1 } } end)
    refused(function()
      return admin:alter_config { topic = topic, set = { ["retention.ms"] = 1 } }
    end)
    refused(function() return admin:groups() end)
    refused(function() return admin:groups { "group" } end)
    refused(function() return admin:lag "group" end)
    refused(function()
      return admin:reset_offsets("group", { topics = { topic }, offset = "earliest" })
    end)
    refused(function() return admin:delete_group_offsets("group", { topic }) end)
    refused(function()
      return admin:delete_records { { topic = topic, partition = 0, offset = 0 } }
    end)
    refused(function() return admin:list_offsets { topics = { topic }, time = 1 } end)
    refused(function() return admin:read { topic = topic, partition = 0, time = 1 } end)
  end)

  local function filled(partitions, count)
    local topic = helper.topic(partitions)
    local producer = assert(strand.producer { kafka = {
      ["bootstrap.servers"] = helper.mock().bootstrap_servers } })
    for i = 0, count - 1 do
      for partition = 0, partitions - 1 do
        assert(producer:send { topic = topic, partition = partition, key = "key" .. i,
          value = ("%d"):format(i), headers = { { "name", "value" }, { "none" } } })
      end
    end
    assert(producer:flush(20))
    producer:close()
    return topic
  end

  it("describes the cluster and its topics", function()
    local topic = helper.topic(2)
    local known = assert(admin:describe { topics = { topic } })
    assert.equal(1, #known.brokers)
    assert.equal(helper.mock().bootstrap_servers,
      ("%s:%d"):format(known.brokers[1].host, known.brokers[1].port))
    assert.same({ topic = topic, partitions = {
      { partition = 0, leader = 1, replicas = { 1 }, isr = { 1 } },
      { partition = 1, leader = 1, replicas = { 1 }, isr = { 1 } },
    } }, known.topics[topic])
    assert.is_table(assert(admin:describe()).topics[topic])
  end)

  it("says which partition has no leader", function()
    local topic = helper.topic(2)
    assert(helper.mock():leader(topic, 1, nil))
    local partitions = assert(admin:describe { topics = { topic } }).topics[topic].partitions
    assert.is_nil(partitions[2].leader)
    assert.equal(1, partitions[1].leader)
    local ok, message, code, list = admin:list_offsets { topics = { topic }, offset = "latest" }
    assert.is_nil(ok)
    assert.equal("LEADER_NOT_AVAILABLE", code)
    assert.matches(("topic '%s', partition 1: "):format(topic), message, 1, true)
    assert.same({ topic = topic, partition = 0, offset = 0 }, list[1])
    assert.is_nil(list[2].offset)
  end)

  it("says of one partition that fails what is known of the others", function()
    local topic = filled(3, 2)
    assert(admin:list_offsets { topics = { topic }, offset = "latest" })
    -- the first is for the whole list, the second for the first alone
    assert(helper.mock():fail("ListOffsets", "TOPIC_AUTHORIZATION_FAILED", 2))
    local ok, message, code, list = admin:list_offsets { topics = { topic }, offset = "latest" }
    assert.is_nil(ok)
    assert.equal("TOPIC_AUTHORIZATION_FAILED", code)
    assert.matches("partition 0: ", message, 1, true)
    assert.same({ nil, 2, 2 }, { list[1].offset, list[2].offset, list[3].offset })
  end)

  it("finds the two ends of logs, and the lag to them", function()
    local topic, group = filled(2, 5), helper.name "group"
    local list = assert(admin:list_offsets { topics = { topic }, partition = 1,
      offset = "earliest" })
    assert.same({ { topic = topic, partition = 1, offset = 0 } }, list)
    local lag = assert(admin:lag(group, { topic }))
    assert.same({ 10, 10, 2 }, { lag.total, lag.true_total, #lag.partitions })
    assert.same({ topic = topic, partition = 1, start_offset = 0, end_offset = 5, lag = 5,
      true_lag = 5 }, lag.partitions[2])
  end)

  it("reads records in the shape that handlers see, and is in no group", function()
    local topic = filled(1, 5)
    local list, ended = admin:read { topic = topic, partition = 0, offset = 1, records = 3 }
    assert.same({ 3, "records" }, { #list, ended })
    local record = list[3]
    assert.is_true(math.abs(record.timestamp - os.time()) < 100)
    record.timestamp, record.leader_epoch = nil, nil
    assert.same({ id = topic .. "/0/3", topic = topic, partition = 0, offset = 3, key = "key3",
      value = "3", timestamp_type = "create", headers = { { "name", "value" }, { "none" } } },
      record)
    list, ended = admin:read { topic = topic, partition = 0, offset = "earliest", records = 100,
      max_bytes = 1 }
    assert.same({ 1, "bytes" }, { #list, ended })
    list, ended = admin:read { topic = topic, partition = 0, offset = 4, records = 100 }
    assert.same({ 1, "end" }, { #list, ended })
    assert.equal("3", admin:read(topic .. "/0/3")[1].value)
  end)

  -- What a group's client would commit by itself, this must not.
  it("commits nothing when it reads, whatever its properties say", function()
    local topic, group = filled(1, 5), helper.name "group"
    local other = assert(strand.admin { log = false, kafka = { ["group.id"] = group,
      ["bootstrap.servers"] = helper.mock().bootstrap_servers } })
    assert.equal(5, #other:read { topic = topic, partition = 0, offset = 0, records = 5 })
    other:close()
    assert.same({}, assert(admin:group_offsets(group, { topic })))
  end)

  it("says where a log begins and ends when it has no such offset", function()
    local topic = filled(1, 5)
    local ok, message, code = admin:read { topic = topic, partition = 0, offset = 6 }
    assert.is_nil(ok)
    assert.equal("OFFSET_OUT_OF_RANGE", code)
    assert.matches("has no offset 6: its log begins at 0 and ends at 5", message, 1, true)
    ok, message, code = admin:read { topic = topic, partition = 1, offset = 0 }
    assert.is_nil(ok)
    assert.equal("UNKNOWN_PARTITION", code)
    assert.matches("has no partition 1", message, 1, true)
  end)

  it("gives a read up at its timeout, and reads on another day", function()
    local topic, mock = filled(1, 5), helper.mock()
    assert(mock:rtt(1, 20))
    local seconds, ok, _, code = helper.seconds(function()
      return admin:read({ topic = topic, partition = 0, offset = 0 }, 0.5)
    end)
    assert(mock:rtt(1, 0))
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.is_true(seconds < 2.5 + helper.late)
    helper.eventually(60, function()
      return admin:read({ topic = topic, partition = 0, offset = 0 }, 5)
    end)
  end)

  -- Seen on Kafka 4.1.1, with a member that librdkafka 2.0 cannot be.
  it("does not call a group dead that only has another protocol", function()
    local answers = {
      describe_groups = { { group = "new", state = "Dead", members = {} },
        { group = "gone", state = "Dead", members = {} } },
      list_groups = { { group = "new", state = "Stable" }, { group = "other", state = "Empty" } },
    }
    local ok, message, code, list = require "strand.admin_cluster".groups(function(method)
      return answers[method]
    end, { "new", "gone" })
    assert.is_nil(ok)
    assert.equal("UNSUPPORTED_FEATURE", code)
    assert.matches("group 'new': librdkafka .* cannot tell the members", message)
    assert.same({ group = "gone", state = "Dead", members = {} }, list[1])
    assert.equal("Stable", list[2].state)
    assert.is_nil(list[2].members)
  end)

  it("finds no offsets where nothing was committed", function()
    local topic = helper.topic(3)
    assert.same({}, assert(admin:group_offsets(helper.name "group", { topic })))
  end)

  it("says of each method why no broker answers: the last cause that is known", function()
    local lost = assert(strand.admin { log = false,
      kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } })
    for _, call in ipairs {
      { "create_topics", function() return lost:create_topics({ orders = 3 }, 1) end },
      { "delete_topics", function() return lost:delete_topics({ "orders" }, 1) end },
      { "group_offsets", function() return lost:group_offsets("group", nil, 1) end },
      { "create_partitions", function() return lost:create_partitions({ orders = 3 }, 1) end },
      { "describe", function() return lost:describe(nil, 1) end },
      { "describe", function() return lost:describe({ topics = { "orders" }, configs = true }, 1) end },
      { "alter_config", function() return lost:alter_config({ topic = "t", set = { x = 1 } }, 1) end },
      { "groups", function() return lost:groups(nil, 1) end },
      { "groups", function() return lost:groups({ "group" }, 1) end },
      { "lag", function() return lost:lag("group", { "orders" }, 1) end },
      { "reset_offsets", function()
        return lost:reset_offsets("group", { topics = { "orders" }, offset = "latest" }, 1)
      end },
      { "delete_group_offsets", function() return lost:delete_group_offsets("group", { "orders" }, 1) end },
      { "list_offsets", function() return lost:list_offsets({ topics = { "orders" }, offset = "latest" }, 1) end },
      { "read", function() return lost:read("orders/0/1", 1) end },
      { "delete_records", function()
        return lost:delete_records({ { topic = "orders", partition = 0, offset = 1 } }, 1)
      end },
    } do
      local ok, message, code = call[2]()
      assert.is_nil(ok)
      assert.equal("TIMED_OUT", code)
      assert.matches("^" .. call[1] .. ": no broker answered in time: 127.0.0.1:1/bootstrap: Connect to .* failed: "
        .. "Connection refused", message)
    end
    lost:close()
  end)

  it("gives up at its timeout when no broker answers", function()
    local lost = assert(strand.admin { kafka = {
      ["bootstrap.servers"] = "127.0.0.1:1", ["log_level"] = 0 } })
    local seconds, ok, _, code = helper.seconds(function()
      return lost:create_topics({ orders = 3 }, 0.3)
    end)
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.is_true(seconds < 1.3 + helper.late)
    seconds, ok = helper.seconds(function() return lost:group_offsets("group", nil, 0.3) end)
    assert.is_nil(ok)
    assert.is_true(seconds < 1.3 + helper.late)
    seconds = helper.seconds(lost.close, lost)
    assert.is_true(seconds < 1.5 + helper.late)
  end)

  -- A request that timed out before its coordinator was connected ended the
  -- process, on the first of these as a rule.
  it("outlives its timeouts, whatever they cut off", function()
    local child = helper.spawn [[
      local strand = require "strand"
      local mock = assert(strand.mock { topics = { t = 1 } })
      local admin = assert(strand.admin {
        kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, log_level = 0 } })
      assert(admin:group_offsets("g", { "t" })) -- from now on it knows the topic
      local late = 0
      for i = 0, 99 do
        local list, message, code = admin:group_offsets("g", { "t" }, i % 10 / 1000)
        assert(list or code == "TIMED_OUT", message)
        late = late + (list and 0 or 1)
      end
      assert(admin:close())
      print(late .. " late")
    ]]
    assert.equal(0, child:wait(60), child:errors())
    assert.is_true(tonumber(child:output():match "(%d+) late") >= 10, child:output())
  end)

  it("says that a callback has closed it between two of its questions", function()
    local asks, other = false, nil
    other = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.mock().bootstrap_servers,
      debug = "protocol" }, log = function()
        if asks then other:close() end
      end })
    asks = true
    assert.same({ nil, "lag: the admin was closed meanwhile", "CLOSED" },
      { other:lag("group", { helper.topic(1) }) })
  end)

  it("raises when it is closed, except for closing again", function()
    local other = assert(strand.admin { kafka = {
      ["bootstrap.servers"] = helper.mock().bootstrap_servers } })
    assert.is_true(other:close())
    assert.is_true(other:close())
    assert.has_error(function() other:delete_topics { "orders" } end,
      "attempt to use a closed admin")
  end)
end)
