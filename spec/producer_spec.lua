-- What a producer promises: every record one report, keys where Java puts
-- them, nothing lost silently, nothing waits longer than it was told.
local core = require "strand.core"
local helper = require "spec.support.helper"
local producers = require "spec.support.producers"
local strand = require "strand"

local UNREACHABLE, quiet = producers.UNREACHABLE, producers.quiet
local open, unreachable = producers.open, producers.unreachable

local function readable(fd)
  return core.wait({ fd }, 0) == 1
end

describe("a producer", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("says where an acknowledged record is", function()
    producer = open()
    local topic = helper.topic(3)
    local first = assert(producer:send_wait { topic = topic, key = "k", value = "1", partition = 2 })
    local second = assert(producer:send_wait { topic = topic, key = "k", value = "2", partition = 2 })
    assert.equal(topic, first.topic)
    assert.equal(2, first.partition)
    assert.equal(0, first.offset)
    assert.equal(1, second.offset)
    assert.equal("k", first.key)
  end)

  it("reports each record once, those of a key in order", function()
    local offsets, reports = {}, 0
    producer = open { on_delivery = function(report)
      reports = reports + 1
      assert.is_nil(report.error)
      local last = offsets[report.key]
      assert.is_true(last == nil or report.offset > last)
      offsets[report.key] = report.offset
    end }
    local topic = helper.topic(11)
    for i = 1, 1000 do
      assert.is_true(producer:send { topic = topic, key = "order-" .. i % 20, value = tostring(i) })
    end
    assert.is_true(producer:flush(20))
    assert.equal(1000, reports)
    local stats = producer:stats()
    assert.equal(1000, stats.sent)
    assert.equal(1000, stats.delivered)
    assert.equal(0, stats.outstanding)
  end)

  it("sends every record through failures of the brokers, in order", function()
    if helper.broker() then return end -- faults are the mock's
    local last = {}
    producer = open { on_delivery = function(report)
      assert.is_nil(report.error)
      assert.is_true(report.offset > (last[report.partition] or -1))
      last[report.partition] = report.offset
    end }
    local topic, mock = helper.topic(2), helper.mock()
    assert(producer:send_wait { topic = topic, key = "warm" })
    assert(mock:fail("Produce", "NOT_LEADER_OR_FOLLOWER", 2))
    assert(mock:fail("Produce", "TRANSPORT", 2))
    for i = 1, 200 do assert(producer:send { topic = topic, key = tostring(i % 7), value = "v" }) end
    assert.is_true(producer:flush(30))
    assert.equal(201, producer:stats().delivered)
  end)

  it("is full at its limit, and has room again once records are gone", function()
    producer = unreachable { max_queued_records = 5 }
    for _ = 1, 5 do assert.is_true(producer:send { topic = "t", value = "v" }) end
    local ok, message, code = producer:send { topic = "t", value = "v" }
    assert.is_nil(ok)
    assert.equal("QUEUE_FULL", code)
    assert.matches("max_queued_records 5,", message, 1, true)
    producer:close { timeout = 0 }
    producer = open { max_queued_records = 5 }
    local topic = helper.topic(1)
    for _ = 1, 4 do
      for _ = 1, 5 do assert.is_true(producer:send { topic = topic, value = "v" }) end
      assert.is_true(producer:flush(20))
    end
  end)

  it("refuses a record that is larger than librdkafka takes", function()
    producer = open()
    local ok, message, code = producer:send { topic = helper.topic(1), value = ("x"):rep(2000000) }
    assert.is_nil(ok)
    assert.equal("MSG_SIZE_TOO_LARGE", code)
    assert.matches("message.max.bytes", message, 1, true)
  end)

  it("fails a record for a partition that does not exist", function()
    producer = open { kafka = { ["topic.metadata.propagation.max.ms"] = 300 } }
    local topic = helper.topic(2)
    assert(producer:send_wait { topic = topic, partition = 1 })
    local report, message, code = producer:send_wait { topic = topic, partition = 2 }
    assert.is_nil(report)
    assert.equal("UNKNOWN_PARTITION", code)
    assert.matches("the topic has 2 partitions", message, 1, true)
  end)

  it("raises for a time that cannot be written", function()
    producer = open()
    for _, time in ipairs { 0, 0.0001, -1, 0 / 0, 1 / 0 } do
      local ok, problem = pcall(producer.send, producer, { topic = "t", timestamp = time })
      assert.is_false(ok)
      assert.matches("option 'timestamp': seconds from 0.001 to 1000000000000 expected", problem, 1,
        true)
    end
  end)

  it("refuses a property that does not exist, and shows no secret", function()
    local cases = {
      { ["sesion.timeout"] = "1" },
      { ["partitioner"] = "random" },
      { ["delivery.report.only.error"] = "true" },
      { ["acks"] = "1" },
      { ["security.protocol"] = "hunter2" },
      { ["sasl.password"] = "hunter2", ["security.protocol"] = "x" },
    }
    for _, properties in ipairs(cases) do
      properties["bootstrap.servers"] = UNREACHABLE
      local ok, message = pcall(strand.producer, { kafka = properties })
      assert.is_false(ok)
      assert.not_matches("hunter2", message, 1, true)
    end
  end)
end)

describe("where a record goes", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("is decided by partition_key, also for a record without a key", function()
    producer = open { partition_key = function(record) return record.order end }
    local plain = open()
    local topic = helper.topic(11)
    for i = 1, 10 do
      local order = "order-" .. i
      local expected = assert(plain:send_wait { topic = topic, key = order }).partition
      local function sent(record)
        record.topic, record.order = topic, order
        return assert(producer:send_wait(record)).partition
      end
      assert.equal(expected, sent { key = "other" })
      assert.equal(expected, sent {})
    end
    assert.has_error(function() plain:send { topic = topic, order = "x" } end,
      "unknown option 'order'")
    plain:close()
  end)

  it("is that of the record's own partition_key before the function is asked", function()
    producer = open { partition_key = function() error("asked") end }
    assert(producer:send_wait { topic = helper.topic(3), key = "a", partition_key = "b" })
  end)

  it("is decided by a function, called with key, count and topic", function()
    local topic = helper.topic(5)
    local calls = {}
    producer = open { topics = { topic }, partitioner = function(key, count, name)
      calls[#calls + 1] = { key, count, name }
      return #(key or "")
    end }
    assert.equal(3, assert(producer:send_wait { topic = topic, key = "abc" }).partition)
    assert.equal(0, assert(producer:send_wait { topic = topic }).partition)
    assert.equal(4, assert(producer:send_wait {
      topic = topic, key = "abc", partition_key = "abcd" }).partition)
    assert.equal(1, assert(producer:send_wait { topic = topic, key = "abc", partition = 1 }).partition)
    assert.same({ { "abc", 5, topic }, { nil, 5, topic }, { "abcd", 5, topic } }, calls)
  end)

  it("is NO_METADATA for a function until the number of partitions is known", function()
    producer = open { partitioner = function() return 0 end }
    local topic = helper.topic(2)
    helper.mock():down() -- else the answer may be there before send looks
    local ok, _, code = producer:send { topic = topic }
    helper.mock():up()
    assert.is_nil(ok)
    assert.equal("NO_METADATA", code)
    helper.eventually(10, function() return producer:send { topic = topic } end)
    assert.is_true(producer:flush(20))
  end)

  it("raises what a partitioner does wrong, and goes on", function()
    local topic = helper.topic(2)
    local answer
    producer = open { topics = { topic }, partitioner = function()
      if answer == "error" then error("mine", 0) end
      return answer
    end }
    for _, wrong in ipairs { 2, -1, 0.5, "1", "error" } do
      answer = wrong
      assert.has_error(function() producer:send { topic = topic } end)
    end
    answer = 1
    assert.equal(1, assert(producer:send_wait { topic = topic }).partition)
  end)
end)

describe("a producer that waits", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("gives up a record's report at the timeout, not later", function()
    producer = unreachable()
    local seconds, ok, message, code = helper.seconds(function()
      return producer:send_wait { topic = "t", value = "v", timeout = 0.2 }
    end)
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.matches("0.2 s", message, 1, true)
    assert.is_true(seconds >= 0.19 and seconds < 1 + helper.late)
  end)

  it("calls on_delivery for each record, also where it yields", function()
    local calls, lines = 0, {}
    producer = open { log = function(_, _, line) lines[#lines + 1] = line end,
      on_delivery = function()
        calls = calls + 1
        coroutine.yield()
      end }
    local topic = helper.topic(1)
    for _ = 1, 20 do assert(producer:send { topic = topic, value = "v" }) end
    local thread = coroutine.create(producer.flush)
    assert.same({ true, true }, { coroutine.resume(thread, producer, 20) })
    assert.equal("dead", coroutine.status(thread))
    assert.equal(20, producer:close().delivered)
    assert.equal(20, calls)
    assert.matches("error in on_delivery: .*attempt to yield", lines[#lines])
  end)

  it("calls on_delivery for each record, also where it closes", function()
    local calls, topic = 0, helper.topic(1)
    producer = open { on_delivery = function()
      calls = calls + 1
      if calls == 1 then assert(producer:send { topic = topic, value = "last" }) end
      producer:close()
    end }
    for _ = 1, 20 do assert(producer:send { topic = topic, value = "v" }) end
    helper.eventually(20, function()
      producer:poll(0.1)
      return calls > 0
    end)
    assert.equal(21, calls)
  end)

  it("says that a callback has closed it while it is flushed, and what was given up", function()
    producer = unreachable { on_delivery = function() producer:close { timeout = 0 } end }
    assert(producer:send { topic = "t", timeout = 0.05 })
    for _ = 1, 2 do assert(producer:send { topic = "t" }) end
    local seconds, ok, message, code, lost = helper.seconds(function() return producer:flush(60) end)
    assert.is_true(seconds < 10 + helper.late)
    assert.same({ nil, "the producer was closed meanwhile: 2 records not acknowledged", "CLOSED", 2 },
      { ok, message, code, lost })
  end)

  it("says that a callback has closed it while send_wait waits for room", function()
    producer = unreachable { max_queued_records = 1,
      on_delivery = function() producer:close { timeout = 0 } end }
    assert(producer:send { topic = "t", timeout = 0.05 })
    local seconds, report, message, code = helper.seconds(function()
      return producer:send_wait { topic = "t", timeout = 60 }
    end)
    assert.is_true(seconds < 10 + helper.late)
    assert.same({ nil, "the producer was closed meanwhile: the record was not sent", "CLOSED" },
      { report, message, code })
  end)

  it("says that a callback has closed it to who waits for a report", function()
    producer = unreachable { on_delivery = function() producer:close { timeout = 0 } end }
    local delivery = assert(producer:send_async { topic = "t" })
    assert(producer:send { topic = "t", timeout = 0.05 })
    local seconds, report = helper.seconds(function() return delivery:wait(60) end)
    assert.is_true(seconds < 10 + helper.late)
    assert.is_string(report.code)
    assert(producer.core:state() == "closed")
  end)

  it("is not woken by the request for a token that its callback answers", function()
    local turns, wait = 0, core.wait
    finally(function() core.wait = wait end)
    local function flushed()
      core.wait = function(...)
        turns = turns + 1
        return wait(...)
      end
      assert(producer:send { topic = "t" })
      local _, _, code = producer:flush(0.5)
      core.wait = wait
      return code
    end
    local code
    producer = open { log = quiet, oauth_token = function()
      if producer and not code then code = flushed() end
      return "token", os.time() + 2 -- the next is due before that
    end, kafka = { ["bootstrap.servers"] = "127.0.0.1:1", ["sasl.mechanism"] = "OAUTHBEARER",
      ["security.protocol"] = "sasl_plaintext" } }
    helper.eventually(30, function() return producer:poll(0.1) and code end)
    assert.equal("TIMED_OUT", code)
    assert.is_true(turns > 0 and turns < 50)
  end)

  it("says how many records a flush has left", function()
    producer = unreachable()
    for _ = 1, 3 do assert(producer:send { topic = "t" }) end
    local seconds, ok, _, code, remaining = helper.seconds(function() return producer:flush(0.2) end)
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.equal(3, remaining)
    assert.is_true(seconds < 1 + helper.late)
  end)

  it("closes in time without a broker, and reports what it gave up", function()
    local reports = {}
    producer = unreachable { on_delivery = function(report) reports[#reports + 1] = report end }
    for i = 1, 3 do assert(producer:send { topic = "t", key = tostring(i) }) end
    local seconds, report = helper.seconds(function() return producer:close { timeout = 0.2 } end)
    assert.is_true(seconds < 1.2 + helper.late)
    assert.equal(3, report.purged)
    assert.equal(0, report.delivered)
    assert.equal(3, #reports)
    assert.equal("PURGE_QUEUE", reports[1].code)
    assert.equal("1", reports[1].key)
    assert.equal(report, producer:close())
    assert.has_error(function() producer:send { topic = "t" } end,
      "attempt to use a closed producer")
    assert.equal(3, producer:stats().purged)
  end)

  it("delivers what is outstanding when it is closed", function()
    producer = open()
    local topic = helper.topic(1)
    for _ = 1, 100 do assert(producer:send { topic = topic, value = "v" }) end
    local report = producer:close()
    assert.equal(100, report.delivered)
    assert.equal(0, report.purged)
  end)

  it("reports how long it lived, not how long its close took", function()
    producer = open()
    local lived = helper.seconds(producer.poll, producer, 0.3)
    assert.is_true(producer:close().seconds >= lived)
  end)

  it("delivers what is outstanding when it is collected", function()
    local topic = helper.topic(1)
    do
      local forgotten = open()
      for _ = 1, 10 do assert(forgotten:send { topic = topic, partition = 0 }) end
    end
    collectgarbage()
    collectgarbage()
    producer = open()
    assert.equal(10, assert(producer:send_wait { topic = topic, partition = 0 }).offset)
  end)

  it("has an fd that is readable while there is something to serve", function()
    local reports = 0
    producer = open { on_delivery = function() reports = reports + 1 end }
    local topic, fd = helper.topic(1), producer:fd()
    helper.eventually(5, function()
      producer:poll(0)
      return not readable(fd)
    end)
    assert(producer:send { topic = topic })
    assert.equal(1, core.wait({ fd }, 20))
    helper.eventually(20, function()
      assert.is_true(reports > 0 or core.wait({ fd }, 5) == 1)
      producer:poll(0)
      return reports == 1
    end)
    assert.is_false(readable(fd))
    assert.equal(fd, producer:fd())
  end)
end)

-- Turns of an event loop and CPU seconds of the process in a second without
-- anything to do.
local function idle_second(producer)
  local turns, fd, cpu, deadline = 0, producer:fd(), os.clock(), core.now() + 1
  while core.now() < deadline do
    core.wait({ fd }, math.max(0, deadline - core.now()))
    producer:poll(0)
    turns = turns + 1
  end
  return turns, os.clock() - cpu
end

describe("a flush that timed out", function()
  teardown(helper.close_cluster)

  -- A long linger is cut short by a thread (kafka/calls.h), a short one not.
  for _, linger in ipairs { 50, 1000 } do
    it(("ends when all is delivered, and costs nothing then: linger %d ms"):format(linger), function()
      local producer = open { kafka = { ["linger.ms"] = linger } }
      assert(producer:send_wait { topic = helper.topic(1), value = "warm" })
      local topic = helper.topic(1)
      local function is_late() -- on a busy machine the report may come sooner
        assert(producer:send { topic = topic, value = "v" })
        local ok, _, code, left = producer:flush(0)
        if ok then return false end
        assert.same({ "TIMED_OUT", 1 }, { code, left })
        return true
      end
      for _ = 1, 3 do
        helper.eventually(20, is_late)
        helper.eventually(20, function()
          producer:poll(0.05)
          return producer:stats().outstanding == 0
        end)
      end
      local turns, cpu = idle_second(producer)
      producer:close()
      assert.is_true(turns < 10, ("%d turns"):format(turns))
      assert.is_true(cpu < 0.01, ("%.1f ms of CPU"):format(cpu * 1000))
    end)
  end

  it("costs little while its record cannot be delivered", function()
    local producer = open { log = quiet, kafka = { ["bootstrap.servers"] = UNREACHABLE,
      ["linger.ms"] = 1000, ["reconnect.backoff.ms"] = 5000,
      ["reconnect.backoff.max.ms"] = 5000 } }
    assert(producer:send { topic = "t" })
    assert.equal("TIMED_OUT", select(3, producer:flush(0.3)))
    local turns, cpu = idle_second(producer)
    producer:close { timeout = 0 }
    assert.is_true(turns < 10, ("%d turns"):format(turns))
    assert.is_true(cpu < 0.01, ("%.1f ms of CPU"):format(cpu * 1000))
  end)
end)

describe("a record that is waited for", function()
  local producer

  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("does not linger", function()
    producer = open { kafka = { ["linger.ms"] = 60000 } }
    local topic = helper.topic(1)
    for _ = 1, 3 do assert(producer:send_wait { topic = topic, value = "v", timeout = 20 }) end
  end)

  it("does not linger in a partition where others do", function()
    producer = open { kafka = { ["linger.ms"] = 60000 } }
    local topic = helper.topic(1)
    assert(producer:send_wait { topic = topic, partition = 0, timeout = 20 })
    for _ = 1, 3 do assert(producer:send { topic = topic, partition = 0 }) end
    local report = assert(producer:send_wait { topic = topic, partition = 0, timeout = 20 })
    assert.equal(4, report.offset)
  end)

  it("leaves the others to linger afterwards", function()
    producer = open { kafka = { ["linger.ms"] = 1000 } }
    local topic = helper.topic(1)
    local function lingers()
      assert(producer:send_wait { topic = topic, timeout = 20 })
      assert(producer:send { topic = topic })
      local start = core.now()
      helper.eventually(20, function()
        producer:poll(0.05)
        return producer:stats().outstanding == 0
      end)
      return core.now() - start > 0.7
    end
    helper.eventually(30, lingers) -- what was on its way may take it along
  end)

  it("costs nothing more when its time is over", function()
    producer = open { log = quiet, kafka = { ["bootstrap.servers"] = UNREACHABLE,
      ["linger.ms"] = 1000, ["reconnect.backoff.ms"] = 5000,
      ["reconnect.backoff.max.ms"] = 5000 } }
    local report, _, code = producer:send_wait { topic = "t", timeout = 0.3 }
    assert.same({ nil, "TIMED_OUT" }, { report, code })
    local turns, cpu = idle_second(producer)
    assert.is_true(turns < 10, ("%d turns"):format(turns))
    assert.is_true(cpu < 0.01, ("%.1f ms of CPU"):format(cpu * 1000))
  end)

  it("waits for room in a full queue, where nothing lingers then", function()
    producer = open { max_queued_records = 5, kafka = { ["linger.ms"] = 60000 } }
    local topic = helper.topic(1)
    for _ = 1, 5 do assert(producer:send { topic = topic, partition = 0 }) end
    assert.equal("QUEUE_FULL", select(3, producer:send { topic = topic, partition = 0 }))
    local report = assert(producer:send_wait { topic = topic, partition = 0, timeout = 20 })
    assert.equal(5, report.offset)
  end)

  it("is refused by a queue that is full for as long as it waits", function()
    producer = unreachable { max_queued_records = 5 }
    for _ = 1, 5 do assert(producer:send { topic = "t" }) end
    local seconds, report, message, code = helper.seconds(function()
      return producer:send_wait { topic = "t", timeout = 0.2 }
    end)
    assert.same({ nil, "QUEUE_FULL" }, { report, code })
    assert.matches("max_queued_bytes %d+%), and was for 0.2 s", message)
    assert.is_true(seconds >= 0.2 and seconds < 1 + helper.late)
    assert.equal(5, producer:stats().sent)
  end)
end)

describe("a producer in another process", function()
  teardown(helper.end_children)

  it("does not keep a process from ending when no broker is there", function()
    local child = helper.spawn([[
      local producer = assert(require "strand".producer {
        kafka = { ["bootstrap.servers"] = "127.0.0.1:1" }, log = function() end })
      assert(producer:send { topic = "t" })
    ]])
    assert.equal(0, child:wait(60)) -- five seconds of flushing, on a machine of its own
    assert.matches("1 records were not delivered", child:errors(), 1, true)
  end)

  if rawget(_G, "jit") then
    it("is FORKED in a child of the process that opened it", function()
      local child = helper.spawn([[
        local ffi = require "ffi"
        ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"
        local strand = require "strand"
        local producer = assert(strand.producer {
          kafka = { ["bootstrap.servers"] = "127.0.0.1:1" }, log = function() end })
        local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } })
        local mock = assert(strand.mock {})
        local pid = ffi.C.fork()
        if pid == 0 then
          local function code(...) return (select(3, ...)) end
          print(code(producer:send { topic = "t" }), code(producer:flush(1)),
            code(producer:close()), code(admin:close()), code(mock:close()))
          producer, admin, mock = nil, nil, nil
          collectgarbage()
          collectgarbage()
          io.stdout:flush()
          ffi.C._exit(0)
        end
        ffi.C.waitpid(pid, nil, 0)
        producer:close { timeout = 0 }
        print("parent closed")
      ]])
      assert.equal(0, child:wait(15))
      assert.matches("FORKED\tFORKED\tFORKED\tFORKED\tFORKED\nparent closed", child:output(), 1, true)
    end)
  end
end)
