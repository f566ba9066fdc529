-- What a producer promises that only a real broker shows: what was sent is
-- there as it was, times to the millisecond, and what a report says of a
-- record while the broker is away is true. On the mock: spec/sending_spec.lua.
local core = require "strand.core"
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

local JAVA = "java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto" -- soon up

local function open(options)
  options = options or {}
  options.log = function() end
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = helper.broker()
  return assert(strand.producer(options))
end

-- Every record of a topic with one partition, by its offset from 1 on.
local function read_back(topic, count)
  local consumer = fixture.start(fixture.consumer { topics = { topic }, ordering = "partition",
    parked_holds = "record", handler = function(_, context) return context:park() end })
  helper.eventually(60, function() return consumer:stats().parked >= count end, consumer)
  local found = {}
  for record in consumer:parked() do found[record.offset + 1] = record end
  fixture.clear()
  return found
end

-- The records of a topic whose broker was away: how many of each value.
local function values_of(topic, count)
  local seen = {}
  for _, record in ipairs(read_back(topic, count)) do
    seen[record.value] = (seen[record.value] or 0) + 1
  end
  return seen
end

describe("a record that is sent", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is there as it was: bytes, headers and time", function()
    local topic, producer = helper.topic(1), open()
    local all = {}
    for i = 0, 255 do all[i + 1] = string.char(i) end
    all = table.concat(all)
    local records = {
      { key = all, value = all }, { key = "", value = "" }, {},
      { value = "v", headers = { { "a", "1" }, { "b" }, { "a", "" }, { "", all } } },
      { value = "v", headers = { b = "2", a = "1" } },
      { value = "v", timestamp = 1234567890.123 }, { value = "v", timestamp = 0.001 },
    }
    for _, record in ipairs(records) do record.topic = topic end
    local started = os.time()
    assert.equal(#records, producer:send_batch(records))
    local last = assert(producer:send_async { topic = topic, value = "last", timestamp = 1.5 })
    local report = assert(last:wait(30))
    assert.same({ #records, 1.5, nil }, { report.offset, report.timestamp, report.error })
    assert.is_true(report.latency > 0 and report.latency < 30)
    assert.equal(#records + 1, producer:close().delivered)
    local found = read_back(topic, #records + 1)
    for i, sent in ipairs(records) do
      assert.same({ sent.key, sent.value }, { found[i].key, found[i].value })
      if sent.timestamp then assert.equal(sent.timestamp, found[i].timestamp) end
    end
    assert.same(records[4].headers, found[4].headers)
    assert.same({ { "a", "1" }, { "b", "2" } }, found[5].headers)
    assert.is_true(found[1].timestamp >= started - 5 and found[1].timestamp <= os.time() + 5)
  end)

  local function hex(bytes)
    if not bytes then return "null" end
    if bytes == "" then return "-" end
    return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
  end

  -- Nothing of strand or librdkafka reads it.
  it("is there for Kafka's own consumer too, through each codec", function()
    local all, topics, expected, path = {}, {}, {}, helper.folder() .. "/read"
    for i = 0, 255 do all[i + 1] = string.char(i) end
    all = table.concat(all)
    local records = {
      { key = all, value = all, timestamp = 1234567890.123 },
      { key = "", value = "", timestamp = 2 }, { timestamp = 3 },
      { value = "v", timestamp = 4, headers = { { "a", "1" }, { "b" }, { "a", "" }, { "\195\164", all } } },
    }
    for i, codec in ipairs { "none", "gzip", "snappy", "lz4", "zstd" } do
      topics[i] = helper.topic(1, { ["retention.ms"] = -1 }) -- their times are old
      local producer = open { kafka = { ["compression.type"] = codec } }
      for offset, record in ipairs(records) do
        record.topic = topics[i]
        local words = { topics[i], 0, offset - 1, ("%.0f"):format(record.timestamp * 1000),
          hex(record.key), hex(record.value) }
        for _, header in ipairs(record.headers or {}) do
          words[#words + 1] = hex(header[1]) .. "=" .. hex(header[2])
        end
        expected[#expected + 1] = table.concat(words, " ")
      end
      assert.equal(#records, producer:send_batch(records))
      assert.equal(#records, producer:close().delivered)
    end
    local ok = os.execute((JAVA .. " -cp 'build/kafka/%s/lib/*' spec/java/Reader.java '%s' 300 --whole %s > '%s'")
      :format(os.getenv "KAFKA_VERSION", helper.broker(), table.concat(topics, " "), path))
    assert(ok == true or ok == 0)
    local read = {}
    for line in io.lines(path) do
      if not line:find "^total" then read[#read + 1] = line end
    end
    table.sort(read)
    table.sort(expected)
    assert.same(expected, read)
  end)

  -- The topic takes no batch that is not a tenth of what is sent: so it was
  -- compressed on its way, and is in the log as it came.
  it("is compressed by each codec, and read back as it was", function()
    local LIMIT, COUNT = 10000, 100
    local function value_of(i) return ("value %d "):format(i):rep(150) end
    for _, codec in ipairs { "gzip", "snappy", "lz4", "zstd", "none" } do
      local topic = helper.topic(1, { ["max.message.bytes"] = LIMIT })
      local producer = open { kafka = { ["compression.type"] = codec, ["linger.ms"] = 2000,
        ["batch.size"] = 1000000 } }
      local records = {}
      for i = 1, COUNT do
        records[i] = { topic = topic, key = "k" .. i, value = value_of(i), headers = { h = codec } }
      end
      assert(#records[1].value * COUNT > 10 * LIMIT)
      assert.equal(COUNT, producer:send_batch(records))
      local report = producer:close()
      if codec == "none" then -- else the limit has shown nothing
        assert.same({ 0, COUNT }, { report.delivered, report.failed })
      else
        assert.equal(COUNT, report.delivered, codec)
        local found = read_back(topic, COUNT)
        for i = 1, COUNT do
          assert.same({ "k" .. i, value_of(i), { { "h", codec } } },
            { found[i].key, found[i].value, found[i].headers })
        end
      end
    end
  end)
end)

describe("a record that failed", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("that is purged before it was sent is certainly not written", function()
    local topic, producer = helper.topic(1), open { kafka = { ["linger.ms"] = 60000 } }
    local lost = assert(producer:send_async { topic = topic, value = "lost" })
    producer:close { timeout = 0 }
    assert.same({ "PURGE_QUEUE", true }, { lost:done().code, lost:done().certain })
    producer = open()
    assert(producer:send_wait { topic = topic, value = "there" })
    producer:close()
    assert.same({ there = 1 }, values_of(topic, 1))
  end)

  -- Stopped in mid flight: what was sent may be in its log, and is.
  it("that was sent and is given up may be written, and the report says so", function()
    local topic, producer = helper.topic(1), open()
    assert(producer:send_wait { topic = topic, value = "warm" })
    helper.kafka "pause"
    local sent = assert(producer:send_async { topic = topic, value = "in flight" })
    assert.is_nil((sent:wait(1)))
    producer:close { timeout = 0 }
    helper.kafka "resume"
    assert.same({ "PURGE_INFLIGHT", false }, { sent:done().code, sent:done().certain })
    helper.eventually(30, function()
      local after = open()
      local report = after:send_wait { topic = topic, value = "after", timeout = 20 }
      after:close()
      return report
    end)
    assert.equal(1, values_of(topic, 2)["in flight"])
  end)

  it("by its own timeout stays in the queue, and is written once when the broker is back", function()
    local topic, reports = helper.topic(1), {}
    local producer = open { on_delivery = function(report) reports[#reports + 1] = report end }
    assert(producer:send_wait { topic = topic, value = "warm" })
    helper.kafka "pause"
    assert(producer:send { topic = topic, key = "k", value = "late", timeout = 0.3 })
    local late = assert(producer:send_async { topic = topic, value = "late too", timeout = 0.3 })
    local seconds = helper.seconds(function()
      while #reports == 0 or not late:done() do
        core.wait({ producer:fd() }, 20)
        producer:poll(0)
      end
    end)
    local done = producer:send_wait { topic = topic, value = "third", timeout = 0.2 }
    helper.kafka "resume"
    assert.is_nil(done)
    assert.is_true(seconds >= 0.29 and seconds < 0.3 + 0.25 + helper.late)
    assert.same({ "TIMED_OUT", false, "k" }, { reports[1].code, reports[1].certain, reports[1].key })
    assert.same({ "TIMED_OUT", false }, { late:done().code, late:done().certain })
    helper.eventually(60, function()
      producer:poll(0.1)
      return producer:stats().late == 3
    end)
    assert(producer:send_wait { topic = topic, value = "last" })
    local stats = producer:stats()
    assert.same({ 2, 3, 0, 0 }, { stats.delivered, stats.failed, stats.outstanding, stats.overdue })
    assert.equal(1, #reports)
    producer:close()
    local order = {}
    for i, record in ipairs(read_back(topic, 5)) do order[i] = record.value end
    assert.same({ "warm", "late", "late too", "third", "last" }, order)
  end)
end)
