-- The embedded cluster: what it can be told, and what it refuses. A wrong
-- broker id must never reach librdkafka, which aborts the process.
local helper = require "spec.support.helper"
local strand = require "strand"

describe("the mock cluster", function()
  local mock

  setup(function()
    mock = assert(strand.mock { brokers = 3, topics = { orders = 11 } })
  end)
  teardown(function() mock:close() end)

  local function fails(code, ok, message, got)
    assert.is_nil(ok)
    assert.is_string(message)
    assert.equal(code, got)
  end

  -- Of each thread of the process, by its number, the signals it blocks: a mask in hex.
  local function signals_blocked()
    local masks = {}
    for thread in require "lfs".dir "/proc/self/task" do
      local file = thread:match "^%d+$" and io.open("/proc/self/task/" .. thread .. "/status")
      if file then
        masks[thread] = file:read("*a"):match "SigBlk:%s*(%x+)"
        file:close()
      end
    end
    return masks
  end

  it("has as many brokers as it was asked for", function()
    local count = 0
    for _ in mock.bootstrap_servers:gmatch "127%.0%.0%.1:%d+" do count = count + 1 end
    assert.equal(3, count)
  end)

  it("takes records for its topics", function()
    assert.is_true(mock:create_topic("more", 2))
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = mock.bootstrap_servers } })
    assert.equal(0, assert(producer:send_wait { topic = "more", partition = 1 }).offset)
    assert(producer:send_wait { topic = "orders", partition = 10 })
    assert.is_nil((producer:send_wait { topic = "more", partition = 2 }))
    producer:close()
  end)

  -- librdkafka's thread throws away the wake-up of a call that comes right
  -- behind another: one in ten of these took a second.
  it("answers at once however calls follow one another", function()
    local slowest = 0
    local function timed(method, ...)
      local seconds, ok, message = helper.seconds(method, mock, ...)
      assert(ok, message)
      slowest = math.max(slowest, seconds - helper.late)
    end
    for i = 1, 50 do
      timed(mock.create_topic, "fast" .. i, 1)
      timed(mock.leader, "fast" .. i, 0, 1 + i % 3)
      timed(mock.coordinator, "group" .. i, 1 + i % 3)
      timed(mock.rtt, 1 + i % 3, 0)
      timed(mock.down, 2)
      timed(mock.up, 2)
    end
    assert.is_true(slowest < 0.9, ("a call took %.3f s"):format(slowest))
  end)

  it("refuses a topic that is there already", function()
    fails("TOPIC_ALREADY_EXISTS", mock:create_topic("orders", 3))
  end)

  it("refuses brokers, partitions and topics that it does not have", function()
    fails("UNKNOWN_BROKER", mock:down(4))
    fails("UNKNOWN_BROKER", mock:up(4))
    fails("UNKNOWN_BROKER", mock:rtt(4, 0.1))
    fails("UNKNOWN_BROKER", mock:leader("orders", 0, 4))
    fails("UNKNOWN_BROKER", mock:coordinator("group", 4))
    fails("UNKNOWN_TOPIC_OR_PART", mock:leader("orders", 11, 1))
    fails("UNKNOWN_TOPIC_OR_PART", mock:leader("nothing", 0, 1))
  end)

  it("refuses requests and errors that it does not know", function()
    fails("INVALID_ARG", mock:fail("OffsetComit", "NOT_COORDINATOR"))
    fails("INVALID_ARG", mock:fail("CreateTopics", "NOT_COORDINATOR"))
    fails("INVALID_ARG", mock:fail("OffsetCommit", "NOT_A_CODE"))
  end)

  it("knows errors by Kafka's names and librdkafka's, with or without underscore", function()
    for _, code in ipairs { "COORDINATOR_LOAD_IN_PROGRESS", "TRANSPORT", "_TRANSPORT",
      "NOT_LEADER_OR_FOLLOWER", "NOT_LEADER_FOR_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION" } do
      assert.is_true(mock:fail("OffsetCommit", code, 1))
    end
  end)

  it("takes brokers down and up, the same twice, and slows them", function()
    assert.is_true(mock:down(2))
    assert.is_true(mock:down(2))
    assert.is_true(mock:up(2))
    assert.is_true(mock:rtt(2, 0.02))
    assert.is_true(mock:rtt(2, 0))
    assert.is_true(mock:leader("orders", 0, 2))
    assert.is_true(mock:coordinator("group", 2))
  end)

  it("raises for what is no broker, no number, no name", function()
    assert.has_error(function() mock:down(1.5) end)
    assert.has_error(function() mock:down "1" end)
    assert.has_error(function() mock:down(false) end,
      "argument 'broker': whole number from 1 to 16 expected, got false")
    assert.has_error(function() mock:rtt(1, -1) end)
    assert.has_error(function() mock:create_topic("a b", 1) end)
    assert.has_error(function() strand.mock { brokers = 0 } end)
    assert.has_error(function() strand.mock { topics = { orders = 0 } } end)
  end)

  -- From librdkafka 2.5 on it ended the process.
  it("takes a partition's leader away under a producer and a consumer, and gives it back", function()
    assert(mock:create_topic("led", 1))
    local reader = assert(strand.consumer { topics = { "led" }, workers = 0, log = false,
      kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, ["group.id"] = "led" },
      handler = function() end })
    local producer = assert(strand.producer { log = false,
      kafka = { ["bootstrap.servers"] = mock.bootstrap_servers } })
    finally(function()
      producer:close { timeout = 0 }
      reader:close { mode = "now", timeout = 5 }
    end)
    assert(reader:start())
    assert(producer:send_wait { topic = "led" })
    helper.eventually(20, function() return reader:stats().done == 1 end, reader)
    assert(mock:leader("led", 0)) -- both still ask the one that was
    local delivery = assert(producer:send_async { topic = "led" })
    assert.is_nil((delivery:wait(1.5)))
    assert(mock:leader("led", 0, 2))
    assert(delivery:wait(20))
    helper.eventually(20, function() return reader:stats().done == 2 end, reader)
  end)

  it("fails a record when told so, as often as told", function()
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = mock.bootstrap_servers } })
    assert(producer:send_wait { topic = "orders", partition = 3 })
    assert(mock:fail("Produce", "TOPIC_AUTHORIZATION_FAILED", 1))
    local report, _, code = producer:send_wait { topic = "orders", partition = 3 }
    assert.is_nil(report)
    assert.equal("TOPIC_AUTHORIZATION_FAILED", code)
    producer:close()
  end)

  it("has no thread that a signal to the process could end", function()
    local before = signals_blocked()
    local other = assert(strand.mock { brokers = 1 })
    local count = 0
    for thread, blocked in pairs(signals_blocked()) do
      if not before[thread] then
        count = count + 1
        assert.matches("^%x*[4567cdef]%x%x[2367abef]$", blocked) -- SIGTERM and SIGINT
      end
    end
    assert.is_true(count > 0)
    other:close()
  end)

  it("leaves no thread behind, however often it is closed", function()
    local threads = helper.threads()
    local other = assert(strand.mock { brokers = 2 })
    assert.is_true(helper.threads() > threads)
    assert.is_true(other:close())
    assert.is_true(other:close())
    assert.has_error(function() other:down(1) end, "attempt to use a closed mock")
    helper.eventually(5, function() return helper.threads() <= threads end)
  end)
end)

describe("log", function()
  local lines
  local function log(_, facility, message) lines[#lines + 1] = facility .. ": " .. message end
  before_each(function() lines = {} end)

  it("of a mock takes what is said of it", function()
    local mock = assert(strand.mock { brokers = 1, log = log })
    assert.matches("mock: in this process, for tests", table.concat(lines, "\n"), 1, true)
    mock:close()
    local count = #lines
    mock = assert(strand.mock { brokers = 1, log = false })
    mock:close()
    assert.equal(count, #lines)
  end)

  it("of an admin takes librdkafka's lines, from its methods", function()
    local address = "127.0.0.1:1"
    local given = { kafka = { ["bootstrap.servers"] = address }, log = log }
    local admin = assert(strand.admin(given))
    assert.is_nil((admin:create_topics({ topic = 1 }, 1)))
    assert.matches("Connection refused", table.concat(lines, "\n"), 1, true)
    admin:close()
    local count = #lines
    given.log = false
    admin = assert(strand.admin(given))
    assert.is_nil((admin:delete_topics({ "topic" }, 0.5)))
    admin:close()
    assert.equal(count, #lines)
  end)
end)
