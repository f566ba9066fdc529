-- What a producer's transactions promise: a reader sees all of a committed one
-- and nothing of any other, whatever becomes of the process, of the broker or
-- of the record; and abort makes the producer usable again.
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local LIMIT = 60 -- for what takes no time on a quiet machine

local opened

local function open(id, options)
  options = options or {}
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = helper.broker()
  options.transactional_id = id or helper.name "id"
  options.log = options.log or function() end
  local producer = assert(strand.producer(options))
  opened[#opened + 1] = producer
  return producer
end

local function send(producer, topic, from, to, prefix)
  for i = from, to do
    assert(producer:send { topic = topic, key = "k" .. i, value = prefix .. i })
  end
end

local function transact(producer, topic, from, to, prefix)
  assert(producer:begin(LIMIT))
  send(producer, topic, from, to, prefix)
  assert(producer:commit(LIMIT))
end

local function values(from, to, prefix, list)
  list = list or {}
  for i = from, to do list[#list + 1] = prefix .. i end
  return list
end

-- What a reader sees of the only partition, up to where it ends for it.
local function read(topic, level)
  local path = helper.folder() .. "/read"
  member.tool_to(path, "read", topic, 0, level or "committed")
  local list = {}
  for line in io.lines(path) do list[#list + 1] = line end
  return list
end

-- Behind an open transaction a reader sees nothing: so this one has ended.
local function await_end(topic)
  local plain = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.broker() } })
  assert(plain:send_wait { topic = topic, value = "plain", timeout = LIMIT })
  plain:close()
  return helper.eventually(LIMIT, function()
    local list = read(topic)
    return list[#list] == "plain" and list
  end)
end

describe("a transaction", function()
  before_each(function() opened = {} end)
  after_each(function()
    for _, producer in ipairs(opened) do producer:close { timeout = 0 } end
    helper.end_children()
  end)

  it("is seen whole when it is committed, and not at all when it is aborted", function()
    local topic, expected = helper.topic(1), {}
    local producer = open()
    for round = 1, 6 do
      local prefix = ("%d-"):format(round)
      assert.is_true(producer:begin(LIMIT))
      send(producer, topic, 1, 50, prefix)
      if round % 2 == 1 then
        assert.is_true(producer:commit(LIMIT))
        values(1, 50, prefix, expected)
      else
        assert.is_true(producer:flush(LIMIT))
        assert.is_true(producer:abort(LIMIT))
      end
    end
    assert.same(expected, read(topic))
    assert.equal(300, #read(topic, "uncommitted")) -- what was aborted was there
    local report = producer:close()
    assert.equal(300, report.delivered)
    assert.is_nil(report.transaction)
  end)

  it("is aborted while the brokers still end the one before, and keeps its client", function()
    local topic, renewed, expected = helper.topic(1), {}, {}
    local producer = open(nil, { kafka = { ["linger.ms"] = 0 }, on_event = function(event)
      renewed[#renewed + 1] = event.type == "renewed" and event.reason or nil
    end })
    for round = 1, 60 do
      transact(producer, topic, round, round, "committed-")
      values(round, round, "committed-", expected)
      assert(producer:begin(LIMIT))
      send(producer, topic, 1, 10, "aborted-")
      producer:poll(round % 10 / 1000) -- librdkafka has asked for its partition by then, or not
      assert.is_true(producer:abort(LIMIT))
    end
    assert.same({}, renewed)
    assert.same(expected, read(topic))
  end)

  it("gives each record one report when it is aborted, which says so if it was not sent", function()
    local topic, codes = helper.topic(1), { ok = 0, ABORTED = 0 }
    local producer = open(nil, { kafka = { ["linger.ms"] = 20000 }, on_delivery = function(report)
      local code = report.code or "ok"
      codes[code] = (codes[code] or 0) + 1
    end })
    transact(producer, topic, 1, 10, "first-")
    assert(producer:begin(LIMIT))
    send(producer, topic, 1, 500, "aborted-")
    assert.is_true(producer:abort(LIMIT))
    assert.same({ ok = 10, ABORTED = 500 }, codes)
    transact(producer, topic, 1, 10, "second-")
    assert.same(values(1, 10, "second-", values(1, 10, "first-")), read(topic))
    local stats = producer:stats()
    assert.same({ 520, 20, 500, 0, 0 }, { stats.sent, stats.delivered, stats.purged, stats.failed,
      stats.outstanding })
  end)

  it("that a killed process left open is aborted by the next with its id", function()
    local topic, id = helper.topic(1), helper.name "id"
    local child = helper.spawn([[
      local broker, topic, id = ...
      local producer = assert(require "strand".producer {
        kafka = { ["bootstrap.servers"] = broker }, transactional_id = id })
      assert(producer:begin(60))
      for i = 1, 100 do assert(producer:send { topic = topic, value = "half-" .. i }) end
      assert(producer:flush(60))
      print "sent"
      io.stdout:flush()
      io.popen("sleep 600"):read "*a"
    ]], helper.broker(), topic, id)
    child:says("sent", LIMIT)
    child:signal "KILL"
    child:wait(LIMIT)
    local producer = open(id)
    assert.is_true(producer:begin(LIMIT)) -- nobody waits for the old one's timeout, 60 s
    send(producer, topic, 1, 10, "whole-")
    assert.is_true(producer:commit(LIMIT))
    assert.same(values(1, 10, "whole-"), read(topic))
    assert.equal(110, #read(topic, "uncommitted"))
  end)

  it("is whole or not there when its process is killed at any moment", function()
    local TRANSACTIONS, RECORDS, KILLS = 100, 20, 5
    local topic, id, done = helper.topic(1), helper.name "id", 0
    for kill = 1, KILLS + 1 do
      local child = helper.spawn([[
        local broker, topic, id, first, last, records = ...
        io.stdout:setvbuf "line"
        local producer = assert(require "strand".producer {
          kafka = { ["bootstrap.servers"] = broker }, transactional_id = id })
        for n = first, last do
          assert(producer:begin(60))
          for i = 1, records do
            assert(producer:send { topic = topic, value = ("%d-%d"):format(n, i) })
          end
          print("asked " .. math.floor(n))
          assert(producer:commit(60))
          print("committed " .. math.floor(n))
        end
      ]], helper.broker(), topic, id, done + 1, TRANSACTIONS, RECORDS)
      if kill <= KILLS then
        -- Somewhere in the transactions that follow.
        child:says("asked " .. done + 3, LIMIT)
        require "system".sleep(math.random() * 0.3)
        child:signal "KILL"
      end
      child:wait(LIMIT * 3)
      -- What the last one came to is known when another has its id.
      local next_one = open(id)
      assert(next_one:begin(LIMIT))
      next_one:close()
      local list, last = read(topic), 0
      for n in child:output():gmatch "committed (%d+)\n" do last = tonumber(n) end
      local seen = tonumber((list[#list] or "0"):match "^%d+")
      assert.is_true(seen == last or seen == last + 1, ("%d, told %d"):format(seen, last))
      done = seen
    end
    assert.equal(TRANSACTIONS, done)
    local expected = {}
    for n = 1, TRANSACTIONS do values(1, RECORDS, n .. "-", expected) end
    assert.same(expected, read(topic))
  end)

  it("ends for one of two producers with one id, and goes on for the other", function()
    local topic, id = helper.topic(1), helper.name "id"
    local loser, winner = open(id), open(id)
    local rounds = 0
    local function begin(producer)
      assert(producer:begin(LIMIT))
      assert(producer:send { topic = topic, value = "of round " .. rounds })
      assert(producer:flush(LIMIT))
    end
    begin(loser)
    begin(winner) -- which fences the other one
    while true do
      local ok, message, code, flags = loser:commit(LIMIT)
      assert.same({ nil, "FENCED" }, { ok, code })
      assert.equal("another process uses this transactional_id", message)
      assert.are_not.equal(flags.abortable, flags.fatal)
      if flags.fatal then break end
      rounds = rounds + 1
      assert.is_true(rounds < 20)
      assert(loser:abort(LIMIT)) -- takes the id back
      begin(loser)
      loser, winner = winner, loser
    end
    assert.equal(6, rounds) -- each renewed three times
    assert(winner:commit(LIMIT))
    for _, call in ipairs { "begin", "commit", "abort" } do
      local ok, _, code, flags = loser[call](loser)
      assert.same({ nil, "FENCED", true }, { ok, code, flags.fatal })
    end
    local ok, _, code, flags = loser:send { topic = topic, value = "x" }
    assert.same({ nil, "FENCED", true }, { ok, code, flags.fatal })
    assert.equal("unknown", loser:close().transaction) -- its last commit was asked for
    transact(winner, topic, 1, 1, "next-")
    assert.same({ "of round 6", "next-1" }, read(topic))
  end)

  it("whose commit timed out is committed when that is called again, and once", function()
    local topic, producer = helper.topic(1), open()
    transact(producer, topic, 1, 10, "first-")
    assert(producer:begin(LIMIT))
    send(producer, topic, 1, 10, "second-")
    assert(producer:flush(LIMIT))
    helper.kafka "pause"
    finally(function() helper.kafka "resume" end)
    local ok, code, flags, _
    local seconds = helper.seconds(function() ok, _, code, flags = producer:commit(2) end)
    assert.same({ nil, "TIMED_OUT" }, { ok, code })
    assert.same({ retriable = true, abortable = false, fatal = false, certain = false }, flags)
    assert.is_true(seconds < 3 + helper.late)
    ok, _, code = producer:abort(1)
    assert.same({ nil, "COMMITTING" }, { ok, code })
    assert.has_error(function() producer:begin() end,
      "begin(): commit() has not ended: call it again")
    assert.has_error(function() producer:send { topic = topic, value = "x" } end)
    helper.kafka "resume"
    assert.is_true(producer:commit(LIMIT))
    transact(producer, topic, 1, 10, "third-")
    assert.same(values(1, 10, "third-", values(1, 10, "second-", values(1, 10, "first-"))),
      read(topic))
  end)

  it("whose broker dies in the commit is committed whole, or not at all", function()
    local topic, producer = helper.topic(1), open()
    transact(producer, topic, 1, 10, "first-")
    assert(producer:begin(LIMIT))
    send(producer, topic, 1, 10, "second-")
    assert(producer:flush(LIMIT))
    helper.kafka "pause"
    assert.is_nil((producer:commit(1)))
    helper.kafka("restart", "kill")
    local ok, _, _, flags = producer:commit(LIMIT)
    local expected = values(1, 10, "first-")
    if ok then
      values(1, 10, "second-", expected)
    else
      assert.is_false(flags.retriable)
      assert.is_true(producer:abort(LIMIT))
      if not flags.certain and #read(topic) > 10 then values(1, 10, "second-", expected) end
    end
    transact(producer, topic, 1, 10, "third-")
    assert.same(values(1, 10, "third-", expected), read(topic))
  end)

  it("that was open for too long fails, and the next one works", function()
    local OPEN_FOR = 4 -- s; a record of the next one may not take longer either
    local topic, events = helper.topic(1), {}
    local producer = open(nil, { transaction_timeout = OPEN_FOR, on_event = function(event)
      events[#events + 1] = event
    end })
    transact(producer, topic, 1, 5, "first-")
    assert(producer:begin(LIMIT))
    send(producer, topic, 1, 5, "expired-")
    assert(producer:flush(LIMIT))
    await_end(topic)
    local ok, message, code, flags = producer:commit(LIMIT)
    assert.is_nil(ok)
    assert.equal("FENCED", code)
    assert.matches(("longer than 'transaction_timeout' (%d)"):format(OPEN_FOR), message, 1, true)
    assert.is_true(flags.abortable)
    assert.is_true(producer:abort(LIMIT))
    transact(producer, topic, 1, 5, "second-")
    assert.same(values(1, 5, "second-", values(1, 1, "plain", values(1, 5, "first-"))),
      (function()
        local list = read(topic)
        for i, value in ipairs(list) do if value == "plain" then list[i] = "plain1" end end
        return list
      end)())
    assert.equal(1, member.events(events, "renewed", { code = "FENCED" }))
  end)

  it("that waits for a topic which is not there says so when its time is over", function()
    local missing, message, code = helper.name "missing", "", nil
    local producer = open(nil, { kafka = {
      ["topic.metadata.propagation.max.ms"] = LIMIT * 1000 } })
    assert(producer:begin(LIMIT))
    assert(producer:send { topic = missing, value = "v" })
    helper.eventually(LIMIT, function()
      local _
      _, message, code = producer:commit(0.5)
      return message:find("does not exist", 1, true)
    end)
    assert.equal("TIMED_OUT", code)
    assert.equal(("commit() did not end within 0.5 s (topic '%s' does not exist): call it again")
      :format(missing), message)
    assert.is_true(producer:abort(LIMIT))
  end)

  it("with a batch that the topic does not take is aborted, and the next one works", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = "20000" })
    local producer = open()
    transact(producer, topic, 1, 10, "first-")
    assert(producer:begin(LIMIT))
    for _ = 1, 30 do assert(producer:send { topic = topic, value = ("x"):rep(5000) }) end
    local ok, _, code, flags = producer:commit(LIMIT)
    assert.same({ nil, "MSG_SIZE_TOO_LARGE" }, { ok, code })
    assert.same({ retriable = false, abortable = true, fatal = false, certain = true }, flags)
    ok, _, code, flags = producer:send { topic = topic, value = "x" }
    assert.same({ nil, "MSG_SIZE_TOO_LARGE", true }, { ok, code, flags.abortable })
    assert.has_error(function() producer:begin() end,
      "begin(): the transaction has failed: abort() comes first")
    assert.is_true(producer:abort(LIMIT))
    for round = 1, 3 do transact(producer, topic, 1, 10, round .. "-") end
    assert.same(values(1, 10, "3-", values(1, 10, "2-", values(1, 10, "1-",
      values(1, 10, "first-")))), read(topic))
  end)

  it("with a record for a topic that is not there fails, and names that topic", function()
    local topic, missing = helper.topic(1), helper.name "missing"
    local producer = open(nil, { kafka = { ["topic.metadata.propagation.max.ms"] = 1000 } })
    assert(producer:begin(LIMIT))
    send(producer, topic, 1, 10, "aborted-")
    assert(producer:send { topic = missing, value = "x" })
    local ok, message, code, flags = producer:commit(LIMIT)
    assert.same({ nil, "UNKNOWN_TOPIC_OR_PART", true, true },
      { ok, code, flags.abortable, flags.certain })
    assert.matches("topic '" .. missing .. "': ", message, 1, true)
    assert.is_true(producer:abort(LIMIT))
    transact(producer, topic, 1, 10, "next-")
    assert.same(values(1, 10, "next-"), read(topic))
  end)

  it("cannot begin where the brokers refuse its timeout, and says that this is final", function()
    local producer = open(nil, { transaction_timeout = 3600 })
    for _ = 1, 2 do
      local ok, _, code, flags = producer:begin(LIMIT)
      assert.same({ nil, "INVALID_TRANSACTION_TIMEOUT", true, false },
        { ok, code, flags.fatal, flags.retriable })
    end
  end)

  it("is aborted at once by a close, and by a collection", function()
    for _, how in ipairs { "close", "collect" } do
      local topic = helper.topic(1)
      local producer = assert(strand.producer { log = function() end,
        kafka = { ["bootstrap.servers"] = helper.broker() }, transactional_id = helper.name "id" })
      assert(producer:begin(LIMIT))
      send(producer, topic, 1, 20, "open-")
      assert(producer:flush(LIMIT))
      send(producer, topic, 1, 20, "open-")
      if how == "close" then
        local report = producer:close { timeout = LIMIT }
        assert.equal("aborted", report.transaction)
        assert.equal(report.sent, report.delivered + report.purged)
      end
      producer = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      local seconds, list = helper.seconds(await_end, topic)
      assert.same({ "plain" }, list)
      assert.is_true(seconds < 40 + helper.late) -- and not by its timeout, 60 s
    end
  end)
end)
