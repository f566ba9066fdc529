-- The mechanics of a producer's transactions: what raises, what waits and for
-- how long, what is said. What a reader sees is spec/kafka/transactions_spec.lua:
-- the mock proves nothing about it.
local helper = require "spec.support.helper"
local strand = require "strand"

local LIMIT = 60 -- for what takes no time on a quiet machine
local UNREACHABLE = "127.0.0.1:1"
local LINGER = 4 * LIMIT * 1000 -- nobody waits for so long
local TIMED_OUT = { retriable = true, abortable = false, fatal = false, certain = false }

describe("a producer with a transactional_id", function()
  local producer, topic

  local function open(options)
    options = options or {}
    options.kafka = { ["bootstrap.servers"] = options.servers or helper.bootstrap(),
      ["linger.ms"] = options.linger,
      ["topic.metadata.propagation.max.ms"] = options.propagation }
    options.servers, options.linger, options.propagation = nil, nil, nil
    options.transactional_id = options.transactional_id or helper.name "id"
    options.log = options.log or function() end
    producer = assert(strand.producer(options))
    return producer
  end

  setup(function() topic = helper.topic(2) end)
  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("raises for what makes no sense in its state", function()
    open()
    local record = { topic = topic, value = "v" }
    local none = "no transaction is open: begin() comes first"
    assert.has_error(function() producer:send(record) end, "send(): " .. none)
    assert.has_error(function() producer:send_wait(record) end, "send_wait(): " .. none)
    assert.has_error(function() producer:commit() end, "commit(): " .. none)
    assert.has_error(function() producer:abort() end, "abort(): " .. none)
    assert.is_true(producer:begin(LIMIT))
    assert.has_error(function() producer:begin() end, "begin(): a transaction is open already")
    assert.has_error(function() producer:commit "now" end)
    assert.is_true(producer:send(record))
    assert.is_true(producer:commit(LIMIT))
    assert.has_error(function() producer:commit() end, "commit(): " .. none)
    assert.has_error(function() producer:send(record) end, "send(): " .. none)
    local ok, message = pcall(producer.send_offsets, producer, {})
    assert.is_false(ok)
    assert.matches("commits by itself what is done", message, 1, true)
  end)

  it("sends, aborts and sends again, and counts each record once", function()
    local codes = {}
    open { linger = 20000, on_delivery = function(report)
      codes[#codes + 1] = report.code or "ok"
    end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "1" })
    assert.is_true(producer:abort(LIMIT))
    assert.same({ "ABORTED" }, codes)
    assert(producer:begin(LIMIT))
    assert(producer:send_wait { topic = topic, value = "2", timeout = LIMIT })
    assert(producer:send { topic = topic, value = "3" })
    assert.is_true(producer:commit(LIMIT)) -- and does not linger
    assert.same({ "ABORTED", "ok" }, codes)
    local report = producer:close()
    assert.same({ 3, 2, 1, 0 }, { report.sent, report.delivered, report.purged, report.failed })
    assert.is_nil(report.transaction)
  end)

  describe("and a record for a partition that is not there", function()
    local codes, events

    local function start(seconds)
      codes, events = {}, {}
      open { propagation = seconds * 1000, on_delivery = function(report)
        codes[#codes + 1] = report.code or "ok"
      end, on_event = function(event) events[#events + 1] = event.type end }
      assert(producer:begin(LIMIT))
      assert(producer:send_wait { topic = topic, partition = 0, timeout = LIMIT })
    end

    it("waits for it in commit, and fails by it; the client goes on", function()
      start(0.5)
      assert.is_true(producer:send { topic = topic, partition = 7 })
      local ok, message, code, flags = producer:commit(LIMIT)
      assert.same({ nil, "UNKNOWN_PARTITION" }, { ok, code })
      assert.matches("the topic has 2 partitions", message, 1, true)
      assert.same({ retriable = false, abortable = true, fatal = false, certain = true }, flags)
      assert.is_true(producer:abort(LIMIT))
      assert.is_true(producer:begin(LIMIT))
      assert(producer:send_wait { topic = topic, partition = 1, timeout = LIMIT })
      assert.is_true(producer:commit(LIMIT))
      assert.same({ "UNKNOWN_PARTITION" }, codes)
      assert.same({}, events)
    end)

    it("fails by the record's own timeout, which ends the others that wait", function()
      start(LIMIT)
      assert.is_true(producer:send { topic = topic, partition = 7, timeout = 0.5 })
      assert.is_true(producer:send { topic = topic, partition = 7 })
      local ok, _, code = producer:commit(LIMIT)
      assert.same({ nil, "UNKNOWN_PARTITION" }, { ok, code })
      assert.same({ "UNKNOWN_PARTITION", "ABORTED" }, codes)
      assert.equal(0, producer:stats().outstanding)
      assert.is_true(producer:abort(LIMIT))
    end)

    it("gives it up at once when it is aborted, or closed", function()
      start(LIMIT)
      assert.is_true(producer:send { topic = topic, partition = 7 })
      assert.is_true(helper.seconds(producer.abort, producer, LIMIT) < 10 + helper.late)
      assert.same({ "ABORTED" }, codes)
      assert.is_true(producer:begin(LIMIT))
      assert.is_true(producer:send { topic = topic, partition = 7 })
      local report = producer:close { timeout = LIMIT }
      assert.equal("aborted", report.transaction)
      assert.same({ "ABORTED", "ABORTED" }, codes)
      assert.same({ 3, 1, 2, 0 }, { report.sent, report.delivered, report.purged, report.failed })
    end)
  end)

  it("says in the report of its close that a transaction was aborted", function()
    local lines = {}
    open { log = function(_, _, line) lines[#lines + 1] = line end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    local report = producer:close { timeout = LIMIT }
    assert.equal("aborted", report.transaction)
    assert.matches("closed in a transaction, which was aborted", table.concat(lines, "\n"), 1, true)
    assert.equal(1, report.delivered + report.purged)
    assert.equal(report, producer:close())
  end)

  it("does not say at its end that what was aborted before was lost", function()
    local lines = {}
    open { linger = 20000, log = function(_, _, line) lines[#lines + 1] = line end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    assert.is_true(producer:abort(LIMIT))
    assert.equal(1, producer:close { timeout = LIMIT }.purged)
    assert.same({}, lines)
  end)

  it("says so once, also when a callback closes it while it closes", function()
    local lines, inner = {}, nil
    open { log = function(_, _, line) lines[#lines + 1] = line end, on_delivery = function()
      inner = inner or producer:close { timeout = LIMIT }
    end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    local outer = producer:close { timeout = LIMIT }
    assert.equal("aborted", outer.transaction)
    assert.equal(inner, outer)
    local _, count = table.concat(lines, "\n"):gsub("closed in a transaction, which was aborted", "")
    assert.equal(1, count)
  end)

  it("takes no sends in a callback while it commits", function()
    local ok, problem
    open { on_delivery = function()
      ok, problem = pcall(producer.send, producer, { topic = topic, value = "late" })
    end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    assert.is_true(producer:commit(LIMIT))
    assert.is_false(ok)
    assert.matches("the transaction ends: nothing can be sent until begin()", problem, 1, true)
    assert.equal(1, producer:stats().sent)
  end)

  it("is not aborted by a callback while it commits", function()
    local problem
    open { on_delivery = function()
      local ok
      ok, problem = pcall(producer.abort, producer, LIMIT)
      problem = not ok and problem
    end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    assert.is_true(producer:commit(LIMIT))
    assert.matches("abort(): commit() waits, and has called this callback", problem, 1, true)
    assert.is_true(producer:begin(LIMIT)) -- outside of it nothing is refused
    assert.is_true(producer:abort(LIMIT))
  end)

  it("of a failed record does not commit because a callback aborted", function()
    if helper.broker() then return end -- faults are the mock's
    open { on_delivery = function(report)
      if report.code then pcall(producer.abort, producer, LIMIT) end
    end }
    assert(producer:begin(LIMIT))
    assert(helper.mock():fail("Produce", "INVALID_RECORD", 1))
    assert(producer:send { topic = topic, value = "v" })
    local ok, _, code, flags = producer:commit(LIMIT)
    assert.same({ nil, "INVALID_RECORD", true }, { ok, code, flags.abortable })
    assert.is_true(producer:abort(LIMIT))
  end)

  it("begins none in a callback of close, which nobody would end", function()
    local problem
    open { on_delivery = function()
      local ok
      ok, problem = pcall(producer.begin, producer, LIMIT)
      problem = not ok and problem
    end }
    assert(producer:begin(LIMIT))
    assert(producer:send_async { topic = topic, value = "v" }:wait(LIMIT))
    assert(producer:commit(LIMIT))
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    assert.equal("aborted", producer:close { timeout = LIMIT }.transaction)
    assert.matches("begin(): the producer closes", problem, 1, true)
  end)

  it("whose callback closes it in a commit says so, and what became of the transaction", function()
    local report
    open { on_delivery = function() report = report or producer:close { timeout = LIMIT } end }
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = topic, value = "v" })
    local ok, _, code, flags = producer:commit(LIMIT)
    -- The report may be served when the commit has been asked for: then that is waited for.
    if ok then
      assert.is_nil(report.transaction)
    else
      assert.same({ nil, "CLOSED", true }, { ok, code, flags.fatal })
      assert.equal(flags.certain, report.transaction == "aborted")
    end
    assert.has_error(function() producer:commit() end, "attempt to use a closed producer")
  end)

  it("waits in begin no longer than it is told, and serves meanwhile", function()
    local lines = 0
    open { servers = UNREACHABLE, on_event = function() lines = lines + 1 end }
    for _ = 1, 2 do -- the second one goes on with the first one's call
      local ok, message, code, flags
      local seconds = helper.seconds(function()
        ok, message, code, flags = producer:begin(0.7)
      end)
      assert.same({ nil, "TIMED_OUT" }, { ok, code })
      assert.is_string(message)
      assert.same(TIMED_OUT, { retriable = flags.retriable, abortable = flags.abortable,
        fatal = flags.fatal, certain = false })
      assert.is_true(seconds >= 0.5 and seconds < 2 + helper.late)
    end
    assert.is_true(lines > 0)
    helper.eventually(LIMIT, function()
      local _, message = producer:begin(0.7)
      return message:find("goes on from there %(.* failed: Connection refused%)$")
    end)
    local seconds = helper.seconds(function() producer:close { timeout = 1 } end)
    assert.is_true(seconds < 3 + helper.late)
  end)

  it("commits what it could not flush in time when it is told again", function()
    if helper.broker() then return end -- faults are the mock's
    open()
    local mock = helper.mock()
    assert(producer:begin(LIMIT))
    assert(mock:down(1))
    assert(producer:send { topic = topic, value = "v" })
    local ok, _, code, flags = producer:commit(0.5)
    assert.same({ nil, "TIMED_OUT" }, { ok, code })
    assert.same(TIMED_OUT, flags)
    assert(mock:up(1))
    assert.is_true(producer:commit(LIMIT))
    assert.equal(1, producer:stats().delivered)
  end)

  it("renews itself in an abort after a record failed, and tells", function()
    if helper.broker() then return end -- faults are the mock's
    local renewed = {}
    open { on_event = function(event)
      if event.type == "renewed" then renewed[#renewed + 1] = event.code end
    end }
    local mock, descriptors = helper.mock(), nil
    for round = 1, 3 do
      assert(producer:begin(LIMIT))
      assert(mock:fail("Produce", "INVALID_RECORD", 1))
      assert(producer:send { topic = topic, value = "v" })
      local ok, _, code, flags = producer:commit(LIMIT)
      assert.same({ nil, "INVALID_RECORD", true, true },
        { ok, code, flags.abortable, flags.certain })
      assert.is_true(producer:abort(LIMIT))
      producer:poll(0)
      assert.equal(round, #renewed)
      assert.equal("INVALID_RECORD", renewed[round])
      assert(producer:begin(LIMIT))
      assert(producer:send { topic = topic, key = "k", value = "v" })
      assert.is_true(producer:commit(LIMIT))
      descriptors = descriptors or helper.descriptors()
    end
    helper.eventually(LIMIT, function() return helper.descriptors() <= descriptors end)
    assert.equal(3, producer:stats().delivered)
  end)
end)

-- C reads nearly all records, and Lua those with a metatable.
local function for_lua(record)
  return setmetatable(record, {})
end

local function for_c(record)
  return record
end

-- All ways of sending one record, as C and as Lua reads it: by name, what sends one.
local WAYS = {}
for reader, read in pairs { C = for_c, Lua = for_lua } do
  for _, name in ipairs { "send", "send_async", "send_wait" } do
    WAYS[name .. " of " .. reader] = function(producer, topic)
      return producer[name](producer, read { topic = topic, value = "v" })
    end
  end
  WAYS["send_batch of " .. reader] = function(producer, topic)
    return producer:send_batch { read { topic = topic, value = "v" } }
  end
end

describe("a record that is sent in a transaction", function()
  local producer, topic

  local function open(options)
    options.kafka = { ["bootstrap.servers"] = helper.bootstrap(), ["linger.ms"] = options.linger,
      ["reconnect.backoff.max.ms"] = 100 }
    options.linger, options.transactional_id = nil, helper.name "id"
    options.transaction_timeout, options.log = 10 * LIMIT, function() end
    producer = assert(strand.producer(options))
    return producer
  end

  -- Not by 'wait', with which nothing lingers: it might be sent in time.
  local function timed_out(delivery)
    local report = helper.eventually(LIMIT, function()
      producer:poll(0.1)
      return delivery:done()
    end)
    assert.same({ "TIMED_OUT", false }, { report.code, report.certain })
  end

  setup(function() topic = helper.topic(1) end)
  teardown(helper.close_cluster)
  after_each(function()
    if producer then producer:close { timeout = 0 } end
    producer = nil
  end)

  it("needs one, in every way of sending", function()
    open {}
    local function refused(problem)
      for name, send in pairs(WAYS) do
        local ok, message = pcall(send, producer, topic)
        assert.is_false(ok, name)
        assert.matches(("^spec/transactions_spec.lua:%%d+: %s%%(%%): "):format(name:match "^%S+")
          .. problem, message, nil, nil, name)
      end
    end
    refused "no transaction is open: begin%(%) comes first$"
    assert(producer:begin(LIMIT))
    assert(producer:commit(LIMIT))
    refused "no transaction is open: begin%(%) comes first$"
    assert.equal(0, producer:stats().sent)
  end)

  it("is as any other, in every way of sending, and in a callback", function()
    local seen, again = 0, nil
    open { on_delivery = function()
      seen = seen + 1
      again = again or producer:send { topic = topic, value = "again" }
    end }
    assert(producer:begin(LIMIT))
    local sent, deliveries = 0, {}
    for name, send in pairs(WAYS) do
      local result = assert(send(producer, topic))
      sent = sent + 1
      if name:match "^send_async" then deliveries[#deliveries + 1] = result
      elseif name:match "^send_batch" then assert.equal(1, result)
      elseif name:match "^send_wait" then assert.is_number(result.offset)
      else assert.is_true(result)
      end
    end
    for _, delivery in ipairs(deliveries) do assert.is_nil(assert(delivery:wait(LIMIT)).code) end
    helper.eventually(LIMIT, function() return producer:poll(0.1) and again end)
    assert.is_true(producer:commit(LIMIT))
    assert.equal(sent + 1, producer:stats().delivered)
    assert.equal(sent + 1 - 4, seen) -- four have somebody who waits for them
  end)

  it("has the code ABORTED for who waits for it when that is aborted", function()
    open { linger = LINGER }
    assert(producer:begin(LIMIT))
    local first = assert(WAYS["send_async of C"](producer, topic))
    local second = assert(WAYS["send_async of Lua"](producer, topic))
    assert.is_true(producer:abort(LIMIT))
    for _, delivery in ipairs { first, second } do
      local report = assert(delivery:done())
      assert.same({ "ABORTED", true, topic }, { report.code, report.certain, report.topic })
      assert.equal("the transaction was aborted before the record was sent", report.error)
    end
    assert.equal(2, producer:stats().purged)
  end)

  it("is not sent when that has failed, in every way of sending, and flags say what helps", function()
    if helper.broker() then return end -- faults are the mock's
    open {}
    assert(producer:begin(LIMIT))
    assert(helper.mock():fail("Produce", "INVALID_RECORD", 1))
    local report, _, code, whole = producer:send_wait { topic = topic, timeout = LIMIT }
    assert.same({ nil, "INVALID_RECORD", topic }, { report, code, whole.topic })
    for name, send in pairs(WAYS) do
      local result, message, flags
      result, message, code, flags = send(producer, topic)
      assert.equal(name:match "^send_batch" and 0 or nil, result, name)
      assert.is_string(message)
      assert.equal("INVALID_RECORD", code, name)
      assert.same({ retriable = false, abortable = true, fatal = false, certain = true }, flags, name)
    end
    assert.equal(1, producer:stats().sent)
    assert.is_true(producer:abort(LIMIT))
  end)

  it("is of it also when its own time is over: a commit waits for it", function()
    open { linger = LINGER }
    assert(producer:begin(LIMIT))
    timed_out(assert(producer:send_async { topic = topic, value = "late", timeout = 0.05 }))
    assert.equal(1, producer:stats().overdue)
    assert.is_true(producer:commit(LIMIT)) -- and does not linger
    local stats = producer:stats()
    assert.same({ 1, 0, 1, 0 }, { stats.failed, stats.delivered, stats.late, stats.overdue })
  end)

  it("can be aborted while a commit waits for it, its own time being over", function()
    if helper.broker() then return end -- faults are the mock's
    open {}
    assert(producer:begin(LIMIT))
    assert(helper.mock():down())
    timed_out(assert(producer:send_async { topic = topic, value = "late", timeout = 0.05 }))
    local ok, _, code, flags = producer:commit(0.3)
    assert.same({ nil, "TIMED_OUT", true }, { ok, code, flags.retriable })
    assert(helper.mock():up())
    assert.is_true(producer:abort(LIMIT))
    assert.equal(0, producer:stats().overdue)
    assert(producer:begin(LIMIT))
    assert(producer:send_wait { topic = topic, value = "next", timeout = LIMIT })
    assert.is_true(producer:commit(LIMIT))
  end)

  it("fails it when that is heard of after its own time is over", function()
    if helper.broker() then return end -- faults are the mock's
    open { linger = LINGER }
    assert(producer:begin(LIMIT))
    assert(helper.mock():fail("Produce", "INVALID_RECORD", 1))
    timed_out(assert(producer:send_async { topic = topic, value = "late", timeout = 0.05 }))
    local ok, _, code, flags = producer:commit(LIMIT)
    assert.same({ nil, "INVALID_RECORD", true, true }, { ok, code, flags.abortable, flags.certain })
    assert.is_true(producer:abort(LIMIT))
    assert.same({ 1, 1, 0 }, { producer:stats().failed, producer:stats().late, producer:stats().overdue })
  end)
end)

describe("a producer without a transactional_id", function()
  it("has no transactions, and says what is missing", function()
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = UNREACHABLE },
      log = false })
    for _, name in ipairs { "begin", "commit", "abort", "send_offsets" } do
      assert.has_error(function() producer[name](producer) end,
        name .. "(): option 'transactional_id' is required for it")
    end
    producer:close { timeout = 0 }
  end)
end)

describe("a worker's own producer", function()
  teardown(helper.close_cluster)

  it("has transactions as any other", function()
    local topic, results = helper.topic(1), helper.topic(1)
    local plain = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    assert(plain:send_wait { topic = topic, value = "v", timeout = LIMIT })
    plain:close()
    local consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = helper.bootstrap(), ["group.id"] = helper.name "group" },
      topics = { topic }, workers = 1,
      handler_args = { servers = helper.bootstrap(), topic = results, id = helper.name "id" },
      handler = function(record, context)
        local args = context.args
        local producer = assert(require "strand".producer {
          kafka = { ["bootstrap.servers"] = args.servers }, transactional_id = args.id })
        assert(producer:begin(60))
        assert(producer:send { topic = args.topic, value = record.value })
        assert(producer:commit(60))
        assert(producer:close().delivered == 1)
      end,
    })
    assert(consumer:start())
    helper.eventually(LIMIT, function() return consumer:stats().done == 1 end, consumer)
    assert.equal(0, consumer:close().failed)
  end)
end)

describe("the table of errors in docs/producer.md", function()
  it("is the one of the code", function()
    local code, page = {}, {}
    for name, kind in helper.read "src/kafka/transaction_errors.c"
      :gmatch "{ ([%u_]+),%s+STRAND_TRANSACTION_(%u+) }" do
      code[name:gsub("^RD_KAFKA_RESP_ERR_", "")] = kind:lower()
    end
    for names, kind in helper.read "docs/producer.md":gmatch "\n| (`[%u_` ]+) | (%l+) |" do
      for name in names:gmatch "[%u_]+" do page[name] = kind end
    end
    assert.equal("undelivered", code.MSG_SIZE_TOO_LARGE)
    assert.same(code, page)
  end)
end)
