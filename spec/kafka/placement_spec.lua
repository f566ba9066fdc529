-- Keys go to the partitions where Kafka's own Java client put them: the
-- vectors were made by it (see the file's head). What happens to them when a
-- topic gets more partitions, is not there, or takes less than is sent.
local core = require "strand.core"
local helper = require "spec.support.helper"
local strand = require "strand"

local VECTORS = "spec/support/murmur2-vectors.tsv"
local ELEVEN = 8 -- column of the placement among 11 partitions

local function key_of(text)
  local times, byte = text:match "^(%d+)%*(%x%x)$"
  if times then return string.char(tonumber(byte, 16)):rep(tonumber(times)) end
  if text == "-" then return "" end
  return (text:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function vectors()
  local list = {}
  for line in io.lines(VECTORS) do
    if line:sub(1, 1) ~= "#" then
      local cells = {}
      for cell in line:gmatch "[^\t]+" do cells[#cells + 1] = cell end
      list[#list + 1] = { key = key_of(cells[1]), partition = tonumber(cells[ELEVEN]) }
    end
  end
  return list
end

describe("the default partitioner", function()
  local producer, topic

  setup(function()
    topic = helper.topic(11)
    producer = assert(strand.producer { kafka = {
      ["bootstrap.servers"] = helper.bootstrap(), ["message.max.bytes"] = 4000000 } })
  end)
  teardown(function()
    producer:close()
    helper.close_cluster()
  end)

  it("places keys as the Java client does", function()
    local count = 0
    for _, vector in ipairs(vectors()) do
      if #vector.key < 100000 then -- the topic takes records up to 1 MB
        local report = assert(producer:send_wait { topic = topic, key = vector.key })
        assert.equal(vector.partition, report.partition)
        count = count + 1
      end
    end
    assert.is_true(count >= 100)
  end)

  it("places partition keys as the Java client does, also long ones", function()
    for _, vector in ipairs(vectors()) do
      local report = assert(producer:send_wait { topic = topic, partition_key = vector.key })
      assert.equal(vector.partition, report.partition)
    end
  end)
end)

local function add_partitions(topic, count)
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
  local done, message = admin:create_partitions({ [topic] = count }, 30)
  admin:close()
  assert(done, message)
end

-- ---- a topic that changes ------------------------------------------------------

describe("a producer whose topic", function()
  local producer, events, reports

  local function open(options)
    events, reports = {}, {}
    options.kafka = options.kafka or {}
    options.kafka["bootstrap.servers"] = helper.broker()
    options.on_event = function(event) events[#events + 1] = event end
    options.on_delivery = function(report) reports[#reports + 1] = report end
    options.log = function() end
    producer = assert(strand.producer(options))
    return producer
  end

  -- As somebody with an event loop serves it: when fd is readable, and never
  -- else.
  local function serve(limit, condition)
    helper.eventually(limit, function()
      if core.wait({ producer:fd() }, 0.1) then producer:poll(0) end
      return condition()
    end)
  end

  local function event_of(type)
    for _, event in ipairs(events) do
      if event.type == type then return event end
    end
  end

  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("gets partitions sends a record for a new one as soon as it is there, in order", function()
    local topic = helper.topic(2)
    open {}
    assert(producer:send_wait { topic = topic, partition = 0, timeout = 30 })
    assert.is_true(producer:send { topic = topic, key = "1", partition = 3 })
    assert.is_true(producer:send { topic = topic, key = "2", partition = 3 })
    assert.is_true(producer:send { topic = topic, key = "now", partition = 1 })
    serve(30, function() return #reports == 1 end)
    assert.equal("now", reports[1].key)
    add_partitions(topic, 4)
    serve(10, function() return #reports == 3 end) -- not after five minutes
    assert.is_true(producer:send { topic = topic, key = "3", partition = 3 })
    serve(10, function() return #reports == 4 end)
    for i = 1, 3 do
      local report = reports[i + 1]
      assert.same({ tostring(i), 3, i - 1 }, { report.key, report.partition, report.offset })
    end
    local event = event_of "partitions_changed"
    assert.same({ topic, 4 }, { event.topic, event.partitions })
    assert.is_nil(event.code)
  end)

  it("gets partitions gets the records of each way of sending, in order", function()
    local topic = helper.topic(2)
    open {}
    assert(producer:send_wait { topic = topic, partition = 0, timeout = 30 })
    assert.is_true(producer:send { topic = topic, key = "1", partition = 2 })
    local delivery = assert(producer:send_async { topic = topic, key = "2", partition = 2,
      timeout = 60 })
    assert.equal(2, producer:send_batch { { topic = topic, key = "3", partition = 2 },
      { topic = topic, key = "4", partition = 2, timeout = 60 } })
    assert.is_false(delivery:done() and true or false)
    add_partitions(topic, 3)
    assert.equal(4, assert(producer:send_wait { topic = topic, partition = 2, timeout = 30 }).offset)
    assert.equal(1, assert(delivery:wait(30)).offset)
    for i, key in ipairs { "1", "3", "4" } do
      assert.same({ key, 2, ({ 0, 2, 3 })[i] }, { reports[i].key, reports[i].partition, reports[i].offset })
    end
  end)

  it("gets partitions within a transaction commits the records for them", function()
    local topic = helper.topic(2)
    open { transactional_id = helper.name "placement" }
    assert(producer:begin(60))
    assert(producer:send_wait { topic = topic, partition = 0, timeout = 30 })
    local new = assert(producer:send_async { topic = topic, key = "new", partition = 2 })
    assert.is_true(producer:send { topic = topic, key = "old", partition = 1 })
    add_partitions(topic, 3)
    assert.is_true(producer:commit(60)) -- waits for it
    local report = assert(new:done())
    assert.same({ nil, 2, 0 }, { report.error, report.partition, report.offset })
    assert.same({ 3, 0 }, { producer:stats().delivered, producer:stats().failed })
  end)

  it("has not the partition of a record fails its transaction, and keeps the client", function()
    local topic = helper.topic(2)
    open { transactional_id = helper.name "placement",
      kafka = { ["topic.metadata.propagation.max.ms"] = 500 } }
    assert(producer:begin(60))
    assert(producer:send_wait { topic = topic, partition = 0, timeout = 30 })
    assert.is_true(producer:send { topic = topic, partition = 2 })
    local ok, _, code, flags = producer:commit(60)
    assert.same({ nil, "UNKNOWN_PARTITION", true, true },
      { ok, code, flags.abortable, flags.certain })
    assert.is_true(producer:abort(60))
    for _ = 1, 2 do -- the numbers of its records have no gap
      assert(producer:begin(60))
      assert(producer:send_wait { topic = topic, partition = 0, timeout = 30 })
      assert.is_true(producer:commit(60))
    end
    assert.is_nil(event_of "renewed")
  end)

  it("gets partitions is told of it without a record, and a function sees them", function()
    local topic, counts = helper.topic(3), {}
    open { topics = { topic }, kafka = { ["topic.metadata.refresh.interval.ms"] = 1000 },
      partitioner = function(_, count)
        counts[#counts + 1] = count
        return count - 1
      end }
    assert.equal(2, assert(producer:send_wait { topic = topic, timeout = 30 }).partition)
    add_partitions(topic, 5)
    serve(10, function() return event_of "partitions_changed" end)
    assert.equal(4, assert(producer:send_wait { topic = topic, timeout = 30 }).partition)
    assert.same({ 3, 5 }, counts)
  end)

  it("gets partitions leaves what is queued where it was placed", function()
    local topic = helper.topic(1)
    open { topics = { topic }, partitioner = function(_, count) return count - 1 end,
      kafka = { ["linger.ms"] = 60000, ["topic.metadata.refresh.interval.ms"] = 1000 } }
    helper.eventually(30, function() return producer:send { topic = topic, key = "old" } end)
    for _ = 2, 20 do assert.is_true(producer:send { topic = topic, key = "old" }) end
    add_partitions(topic, 7)
    serve(10, function() return event_of "partitions_changed" end)
    assert.equal(0, #reports) -- all of them are queued yet
    for _ = 1, 20 do assert.is_true(producer:send { topic = topic, key = "new" }) end
    assert.is_true(producer:flush(30))
    assert.equal(40, #reports)
    for _, report in ipairs(reports) do
      assert.equal(report.key == "old" and 0 or 6, report.partition)
    end
  end)

  it("does not exist says so at once, again only later, and in what fails", function()
    local topic = helper.name "nowhere"
    open { kafka = { ["message.timeout.ms"] = 4000 } }
    local start = core.now()
    assert.is_true(producer:send { topic = topic, key = "k" })
    serve(10, function() return event_of "topic_missing" end)
    assert.is_true(core.now() - start < 4 + helper.late)
    local event = event_of "topic_missing"
    assert.same({ topic, "UNKNOWN_TOPIC_OR_PART" }, { event.topic, event.code })
    local report, message, code = producer:send_wait { topic = topic, timeout = 0.5 }
    assert.same({ nil, "TIMED_OUT" }, { report, code })
    assert.equal("not acknowledged within 0.5 s; it may still be (the topic does not exist)", message)
    serve(20, function() return #reports == 1 end)
    assert.same({ "k", "MSG_TIMED_OUT" }, { reports[1].key, reports[1].code })
    assert.matches("the topic does not exist", reports[1].error, 1, true)
    local count = 0
    for _, one in ipairs(events) do
      if one.type == "topic_missing" then count = count + 1 end
    end
    assert.equal(1, count)
  end)

  it("does not exist gets its records when it is made", function()
    local topic = helper.name "late"
    open {}
    assert.is_true(producer:send { topic = topic, key = "k" })
    serve(10, function() return event_of "topic_missing" end)
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(admin:create_topics({ [topic] = { partitions = 2 } }, 30))
    admin:close()
    serve(20, function() return #reports == 1 end)
    assert.is_nil(reports[1].error)
  end)
end)

-- ---- a topic that takes less ---------------------------------------------------

describe("a topic that takes smaller batches than batch.size", function()
  local producer, events, reports

  local function open(kafka)
    events, reports = {}, {}
    kafka["bootstrap.servers"] = helper.broker()
    producer = assert(strand.producer { kafka = kafka, log = function() end,
      on_event = function(event) events[#events + 1] = event end,
      on_delivery = function(report) reports[#reports + 1] = report end })
  end

  local function wait_event()
    helper.eventually(20, function()
      if core.wait({ producer:fd() }, 0.1) then producer:poll(0) end
      return #events > 0
    end)
    assert.equal("batch_limit", events[1].type)
    return events[1]
  end

  after_each(function() producer:close { timeout = 0 } end)

  it("is an event that names the value to set", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    open {}
    assert(producer:send_wait { topic = topic, value = "v", timeout = 30 })
    local event = wait_event()
    assert.same({ topic, 20000 }, { event.topic, event.limit })
    assert.matches('kafka["batch.size"] = 20000', event.reason, 1, true)
  end)

  it("refuses a record that is too large by itself, with the limit's name and value", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    open {}
    assert(producer:send_wait { topic = topic, value = "v", timeout = 30 })
    wait_event()
    local ok, message, code = producer:send { topic = topic, value = ("v"):rep(20000) }
    assert.same({ nil, "MSG_SIZE_TOO_LARGE" }, { ok, code })
    assert.matches("'max.message.bytes' (20000)", message, 1, true)
    assert(producer:send_wait { topic = topic, value = ("v"):rep(19000), timeout = 30 })
  end)

  it("takes a record that is as large only before it is compressed", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    open { ["compression.type"] = "gzip" }
    assert(producer:send_wait { topic = topic, value = "v", timeout = 30 })
    wait_event()
    assert(producer:send_wait { topic = topic, value = ("v"):rep(100000), timeout = 30 })
  end)

  it("gets them small enough, once nothing was outstanding", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    open { ["linger.ms"] = 500 }
    assert(producer:send_wait { topic = topic, value = "v", timeout = 30 })
    wait_event()
    for round = 1, 3 do
      for _ = 1, 50 do assert(producer:send { topic = topic, value = ("v"):rep(1000) }) end
      assert.is_true(producer:flush(30))
      local stats = producer:stats()
      assert.same({ 1 + 50 * round, 0, 0 }, { stats.delivered, stats.failed, stats.outstanding })
    end
    for i, report in ipairs(reports) do assert.equal(i, report.offset) end -- in order
    assert.equal(1, #events)
  end)

  it("gets them small enough from the start, when topics names it", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    events, reports = {}, {}
    producer = assert(strand.producer { topics = { topic }, log = function() end,
      kafka = { ["bootstrap.servers"] = helper.broker(), ["linger.ms"] = 500 },
      partitioner = function(_, count) return count - 1 end,
      on_event = function(event) events[#events + 1] = event end })
    wait_event()
    for _ = 1, 50 do assert(producer:send { topic = topic, value = ("v"):rep(1000) }) end
    assert.is_true(producer:flush(30))
    assert.same({ 50, 0 }, { producer:stats().delivered, producer:stats().failed })
  end)

  it("fails a batch as a whole, and says what it was too large for", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    open { ["linger.ms"] = 500, ["batch.size"] = 1000000 }
    assert(producer:send_wait { topic = topic, value = "v", timeout = 30 })
    wait_event()
    for _ = 1, 50 do assert(producer:send { topic = topic, value = ("v"):rep(1000) }) end
    assert.is_true(producer:flush(30))
    assert.equal(50, #reports)
    for _, report in ipairs(reports) do
      assert.equal("MSG_SIZE_TOO_LARGE", report.code)
      assert.matches("the topic's max.message.bytes is 20000", report.error, 1, true)
    end
  end)

  it("gets them whole where batch.size is its limit", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = 20000 })
    open { ["linger.ms"] = 500, ["batch.size"] = 20000 }
    for _ = 1, 50 do assert(producer:send { topic = topic, value = ("v"):rep(1000) }) end
    assert.is_true(producer:flush(30))
    assert.equal(50, producer:stats().delivered)
    assert.same({}, events)
  end)
end)
