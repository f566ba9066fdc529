-- Exactly once: what handlers produce is in one transaction with the offsets of
-- their records. An independent reader of committed records counts.
local audit = require "spec.support.audit"
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local member = require "spec.support.member"
local modes = require "spec.support.modes"
local strand = require "strand"

local PARTITIONS = 3
local LIMIT = 120 -- for what takes no time on a quiet machine

local function keyed(i)
  return { key = "key" .. i * 7919 % 50, value = i % 10 == 0 and "fail 1" or "" }
end

-- The options of a member: transactions are small, so that there are many.
local function options_of(topic, out, more)
  local options = { group = topic, topics = { topic }, delivery = "exactly_once",
    transactional_id = topic, transaction_interval = 0.1, transaction_records = 200, workers = 4,
    producer = {}, handler = "spec.handlers.exactly", retry = { delay = 0.01 },
    handler_args = { out = out } }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

-- What a reader of committed records sees of a topic: each value, in the order
-- of its partition.
local function read(topic, partitions)
  local path, list = helper.folder() .. "/read", {}
  for partition = 0, partitions - 1 do
    member.tool_to(path, "read", topic, partition, "committed")
    for line in io.lines(path) do list[#list + 1] = line end
  end
  return list
end

-- Of 'sent', in a topic: lost, there more than once, behind a later one of
-- their key.
local function count(topic, partitions, sent)
  local seen, last, result = {}, {}, { lost = 0, doubled = 0, inversions = 0 }
  for _, line in ipairs(read(topic, partitions)) do
    local key, id = line:match "^(%S+) (%S+)$"
    local place, offset = id:match "^(.*)/(%d+)$"
    if seen[id] then result.doubled = result.doubled + 1 end
    seen[id] = true
    key, offset = place .. " " .. key, tonumber(offset)
    if (last[key] or -1) > offset then result.inversions = result.inversions + 1 end
    last[key] = offset
  end
  for _, record in ipairs(sent) do
    if not seen[record.id] then result.lost = result.lost + 1 end
  end
  return result
end

local GOOD = { lost = 0, doubled = 0, inversions = 0 }

-- Until a commit covers all of them.
local function wait_covered(group, topic, sent, ...)
  helper.eventually(LIMIT, function()
    local entries = member.committed(group, topic)
    for _, record in ipairs(sent) do
      if not member.covers(entries[record.partition], record.offset) then return false end
    end
    return true
  end, ...)
end

local function covered(group, topic)
  local sum = 0
  for _, entry in pairs(member.committed(group, topic)) do sum = sum + entry.offset end
  return sum
end

-- A process that stops for good before its n-th commit: 'sign' is there then.
local function spawn_held(options, n, sign)
  local folder, getenv = helper.folder(), os.getenv
  local library = folder .. "/hold.so"
  local built = os.execute("cc -std=gnu11 -Wall -Wextra -shared -fPIC -o " .. library
    .. " spec/support/hold.c -Wl,--no-as-needed $(pkg-config --cflags --libs rdkafka) -ldl")
  assert(built == true or built == 0)
  os.getenv = function(name) -- luacheck: ignore 122
    if name ~= "STRAND_LUA" then return getenv(name) end
    return ("LD_PRELOAD=./%s STRAND_HOLD=%d/%s %s"):format(library, n, sign, getenv(name))
  end
  local ok, child = pcall(member.spawn, options)
  os.getenv = getenv -- luacheck: ignore 122
  return assert(ok and child)
end

describe("exactly once", function()
  after_each(member.end_all)

  it("loses and doubles nothing over SIGKILLs at random moments", function()
    local KILLS, RECORDS = 4, 8000
    local topic, out = helper.topic(PARTITIONS), { helper.topic(PARTITIONS), helper.topic(1) }
    local sent, options = audit.send(topic, RECORDS, keyed), options_of(topic, out)
    options.handler_args.slow = 0.004
    for _ = 1, KILLS do
      local child, before = member.spawn(options), covered(topic, topic)
      helper.eventually(LIMIT, function() return covered(topic, topic) > before + 50 end)
      helper.eventually(5, fixture.pause(math.random() / 2))
      child:signal "KILL"
      assert.equal(128 + 9, child:wait(20))
    end
    assert.is_true(covered(topic, topic) < RECORDS, "too late to prove anything")
    local last = member.spawn(options)
    wait_covered(topic, topic, sent)
    last:signal "TERM"
    assert.equal(0, last:wait(40), last:errors())
    last:says("ended OK", 0)
    assert.same(GOOD, count(out[1], PARTITIONS, sent))
    assert.same(GOOD, count(out[2], 1, sent))
  end)

  it("repeats nothing of a process that is killed between its offsets and its commit", function()
    local topic, out = helper.topic(PARTITIONS), { helper.topic(1) }
    local sent, options = audit.send(topic, 600, keyed), options_of(topic, out)
    local sign = helper.folder() .. "/held"
    local child = spawn_held(options, 2, sign)
    helper.eventually(LIMIT, function() return helper.read(sign) end)
    child:signal "KILL"
    assert.equal(128 + 9, child:wait(20))
    local consumer = member.start(options)
    wait_covered(topic, topic, sent, consumer)
    assert(consumer:close())
    assert.same(GOOD, count(out[1], 1, sent))
  end)

  -- Once the limit of their topic is known, produce raises for it, and such a record has all its
  -- attempts. So none is handed over, by which the limit is asked for, before all have produced.
  it("leaves out a record whose output is refused, and nothing else", function()
    local topic, out, dead, folder = helper.topic(1), { helper.topic(1) }, helper.topic(1), helper.folder()
    local sent = audit.send(topic, 10, function(i)
      return { key = "key" .. i, value = i % 4 == 2 and "large;gate go" or "gate go" }
    end)
    local consumer, events = member.start(options_of(topic, out, { workers = 10,
      handler_args = { out = out, folder = folder },
      dead_letter = { topic = dead }, exhausted = "dead_letter" }))
    helper.eventually(LIMIT, function()
      return consumer:stats().staged_bytes > 3 * 2 * 1024 * 1024
    end, consumer)
    for _, record in ipairs(audit.send(topic, 290, function(i)
      return { key = "key" .. i % 10 + 1, value = "" }
    end)) do
      sent[#sent + 1] = record
    end
    fixture.release(folder, "go")
    wait_covered(topic, topic, sent, consumer)
    local report = assert(consumer:close())
    local told = {} -- what stands in a red one
    for _, event in ipairs(events) do
      told[#told + 1] = ("%s %s %s %s"):format(event.type, event.offset or "", event.code or "",
        (event.reason or ""):sub(1, 100))
    end
    told = table.concat(told, "\n")
    assert.equal(3, report.dead_lettered, told)
    assert.equal(297, report.done)
    assert.equal(3, (member.events(events, "record_failed")), told)
    local good = {}
    for i, record in ipairs(sent) do
      if i > 10 or i % 4 ~= 2 then good[#good + 1] = record end
    end
    local result = count(out[1], 1, good)
    assert.same(GOOD, result)
    assert.equal(297, #read(out[1], 1)) -- nothing of the refused ones
    assert.equal(3, #read(dead, 1))
    -- Which of a batch is to blame is not sought: that would be one more for each.
    assert.is_true(member.events(events, "renewed", { code = "MSG_SIZE_TOO_LARGE" }) <= 3)
  end)

  it("ends each record whose output is for a partition that is not there, and no others", function()
    local topic, out = helper.topic(1), { helper.topic(1), helper.topic(1) }
    local sent = audit.send(topic, 40, function(i)
      return { key = "key" .. i, value = i <= 2 and ("beyond %d"):format(i) or "" }
    end)
    -- They are in one transaction, whose client knows neither topic yet.
    local consumer, events = member.start(options_of(topic, out, { exhausted = "skip" }))
    wait_covered(topic, topic, sent, consumer)
    local report = assert(consumer:close())
    assert.same({ 2, 38 }, { report.skipped, report.done })
    local seen, event = member.events(events, "commit_failed")
    if seen > 0 then assert.matches("Unknown partition", event.reason, 1, true) end
    assert.same(GOOD, count(out[1], 1, { (unpack or table.unpack)(sent, 3) }))
    assert.equal(38, #read(out[2], 1))
  end)

  it("waits for no timeout when a topic refuses one of the outputs that are in flight", function()
    local topic, out = helper.topic(1), { helper.topic(1, { ["cleanup.policy"] = "compact" }) }
    local sent = audit.send(topic, 60, function(i)
      return { key = "key" .. i % 10, value = i == 5 and "keyless 1" or "" }
    end)
    local consumer = member.start(options_of(topic, out,
      { exhausted = "skip", transaction_timeout = 6 * LIMIT }))
    wait_covered(topic, topic, sent, consumer)
    local report = assert(consumer:close())
    assert.same({ 1, 59 }, { report.skipped, report.done })
    table.remove(sent, 5)
    assert.same(GOOD, count(out[1], 1, sent))
  end)

  it("makes no larger batches than a topic takes, as soon as its limit is known", function()
    local topic, out = helper.topic(1), { helper.topic(1, { ["max.message.bytes"] = "3000" }) }
    local first = audit.send(topic, 1, keyed)
    local consumer, events = member.start(options_of(topic, out, { exhausted = "skip" }))
    helper.eventually(LIMIT, function() return member.events(events, "batch_limit") == 1 end, consumer)
    wait_covered(topic, topic, first, consumer)
    local sent = audit.send(topic, 300, function(i)
      return { key = "key" .. i % 10, value = i % 100 == 50 and "large" or "" }
    end)
    wait_covered(topic, topic, sent, consumer)
    local report = assert(consumer:close())
    assert.same({ 298, 3 }, { report.done, report.skipped })
    local renewals, renewed = member.events(events, "renewed", { code = "MSG_SIZE_TOO_LARGE" })
    assert.equal(1, renewals)
    assert.equal("'batch.size' was 1000000, and is 3000 now", renewed.reason)
    assert.equal(298, #read(out[1], 1))
  end)

  it("goes on while the dead letter topic is missing, and has its letter when it is there", function()
    local topic, out, dead = helper.topic(1), { helper.topic(1) }, helper.name "dead"
    local sent = audit.send(topic, 20, function(i)
      return { key = "key" .. i, value = i == 5 and "end dead_letter" or "" }
    end)
    local consumer, events = member.start(options_of(topic, out, { dead_letter = { topic = dead } }))
    helper.eventually(LIMIT, function()
      return member.covers(member.committed(topic, topic)[0], 19)
    end, consumer)
    assert.is_true(member.events(events, "topic_missing", { topic = dead }) > 0)
    assert.equal(4, covered(topic, topic))
    assert.equal(19, #read(out[1], 1))
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(admin:create_topics { [dead] = { partitions = 1 } })
    admin:close()
    wait_covered(topic, topic, sent, consumer)
    assert.equal(1, #read(dead, 1))
    assert.equal(19, #read(out[1], 1))
  end)

  it("raises in the handler for what is known of a topic, until that has changed", function()
    local topic, missing = helper.topic(1), helper.name "missing"
    local out = helper.topic(1, { ["max.message.bytes"] = "20000" })
    local consumer, events = member.start(options_of(topic, nil, { workers = 1,
      handler = "spec.handlers.producing", handler_args = { folder = helper.folder(), out = out },
      exhausted = "skip", retry = { attempts = 1000, delay = 0.1, jitter = 0 },
      producer = { kafka = { ["topic.metadata.propagation.max.ms"] = 100 } } }))
    local function failed(reason)
      for _, event in ipairs(events) do
        if event.type == "record_failed" and event.reason:find(reason, 1, true) then return true end
      end
    end
    -- What is not known yet is taken, and its record ends for it later.
    local sent = 0
    local function refused(value, reason)
      helper.eventually(LIMIT, function()
        local ended = consumer:stats().skipped
        fixture.produce(topic, { { key = value .. sent, value = value } })
        sent = sent + 1
        helper.eventually(LIMIT, function()
          return failed(reason) or consumer:stats().skipped > ended
        end, consumer)
        return failed(reason)
      end)
    end
    refused("copy;large 40000", "larger than the topic's 'max.message.bytes' (20000)")
    assert.is_true(sent > 1)
    fixture.produce(topic, { { key = "place", value = "place 2" } })
    sent = sent + 1
    helper.eventually(LIMIT, function() return failed "it has 1 partitions, and none is 2" end,
      consumer)
    refused("to " .. missing, "it does not exist")
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    assert(admin:create_topics { [missing] = 1 })
    assert(admin:create_partitions { [out] = 3 })
    assert(admin:alter_config { topic = out, set = { ["max.message.bytes"] = "100000" } })
    admin:close()
    helper.eventually(LIMIT, function() return covered(topic, topic) == sent end, consumer)
    assert(consumer:close())
    local placed = read(out, 3)
    assert.equal("placed", placed[#placed])
  end)

  it("ends where two processes have one transactional_id", function()
    local topic, other, out = helper.topic(1), helper.topic(1), { helper.topic(1) }
    audit.send(topic, 3000, keyed)
    audit.send(other, 3000, keyed)
    local one = member.spawn(options_of(topic, out))
    local two = member.spawn(options_of(other, out, { transactional_id = topic }))
    helper.eventually(LIMIT, function()
      audit.send(topic, 50, keyed) -- who has no work left fences nobody
      audit.send(other, 50, keyed)
      return one:status() or two:status()
    end)
    local ended = one:status() and one or two
    ended:says("ended FENCED another process uses this transactional_id", 5)
  end)

  it("repeats nothing when members come and go", function()
    local topic, out = helper.topic(PARTITIONS * 2), { helper.topic(PARTITIONS) }
    local sent, options = audit.send(topic, 3000, keyed), options_of(topic, out)
    local one = member.spawn(options)
    helper.eventually(LIMIT, function() return covered(topic, topic) > 300 end)
    options.transactional_id = topic .. "-other"
    local other = member.spawn(options)
    other:says("event restored", LIMIT)
    helper.eventually(5, fixture.pause(1))
    one:signal "TERM"
    assert.equal(0, one:wait(60), one:errors())
    wait_covered(topic, topic, sent)
    other:signal "TERM"
    assert.equal(0, other:wait(60), other:errors())
    assert.same(GOOD, count(out[1], PARTITIONS, sent))
  end)

  -- What it has sent to the brokers stays there, open, until it times out: who has the partition
  -- next sees that its offset is not stable.
  it("answers a rebalance while its commit hangs, and nothing comes twice by that", function()
    local GRACE, LAST = 1, 5 -- seconds: its handlers', its transactions'
    local topic, out = helper.topic(4), { helper.topic(1) }
    local sent = audit.send(topic, 1000, keyed)
    local options = options_of(topic, out, { revoke_grace = GRACE, transaction_timeout = 5 })
    options.handler_args.slow = 0.004
    local sign = helper.folder() .. "/held"
    local child = spawn_held(options, 3, sign)
    helper.eventually(LIMIT, function() return helper.read(sign) end)
    options.transactional_id = topic .. "-other"
    local consumer, events = member.start(options)
    child:says("event revoked", LIMIT)
    local seconds = helper.seconds(helper.eventually, LIMIT, function()
      return member.events(events, "assigned") > 0
    end, consumer)
    assert.is_true(seconds < GRACE + LAST + 1 + helper.late, seconds)
    child:signal "KILL"
    assert.equal(128 + 9, child:wait(20))
    wait_covered(topic, topic, sent, consumer)
    assert(consumer:close())
    assert.same(GOOD, count(out[1], 1, sent))
  end)

  -- The offset of a record is at the brokers, in a transaction that nobody ends:
  -- its process was killed before the commit.
  local function hold_back(topic, out)
    local sign, id = helper.folder() .. "/held", topic .. "-held"
    local held = spawn_held(options_of(topic, out, { transaction_timeout = 600, transactional_id = id,
      workers = 1, transaction_records = 1 }), 1, sign)
    helper.eventually(LIMIT, function() return helper.read(sign) end)
    held:signal "KILL"
    assert.equal(128 + 9, held:wait(20))
    return id
  end

  -- Whoever has the id next ends what the one before has left.
  local function end_held(id)
    local producer = assert(strand.producer { transactional_id = id,
      kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(producer:begin(LIMIT))
    producer:close()
  end

  local function except(list, partition)
    local rest = {}
    for _, record in ipairs(list) do
      if record.partition ~= partition then rest[#rest + 1] = record end
    end
    return rest
  end

  for _, delivery in ipairs { "exactly_once", "at_least_once" } do
    it("goes on with three partitions while the offset of a fourth is held back, " .. delivery, function()
      local topic, out = helper.topic(4), { helper.topic(1) }
      local options = options_of(topic, out)
      local first = audit.send(topic, 40, function(i) return { key = "key" .. i, value = "" } end)
      local before = member.start(options) -- so that each partition has a committed offset
      wait_covered(topic, topic, first, before)
      assert(before:close())
      local sent = audit.send(topic, 400, keyed)
      local id = hold_back(topic, out)
      if delivery == "at_least_once" then
        options.delivery, options.transactional_id, options.transaction_interval = nil, nil, nil
        options.transaction_records, options.commit_interval = nil, 0.1
      end
      local consumer, events = member.start(options)
      helper.eventually(LIMIT, function()
        return member.events(events, "restored") == 3 and member.events(events, "restoring") == 1
      end, consumer)
      local _, event = member.events(events, "restoring")
      assert.equal("UNSTABLE_OFFSET_COMMIT", event.code)
      wait_covered(topic, topic, except(sent, event.partition), consumer)
      assert.equal(0, (member.events(events, "restored", { partition = event.partition })))
      end_held(id)
      wait_covered(topic, topic, sent, consumer)
      assert(consumer:close())
      for _, record in ipairs(first) do sent[#sent + 1] = record end
      assert.same(GOOD, count(out[1], 1, sent))
      for _, type in ipairs { "reset", "truncated", "sought", "commit_failed" } do
        local told, last = member.events(events, type)
        assert.equal(0, told, last and ("%s: %s"):format(type, last.reason))
      end
    end)
  end

  it("refuses a producer of another cluster", function()
    local mock = assert(strand.mock { brokers = 1, topics = { out = 1 } })
    local topic = helper.topic(1)
    local consumer = member.open(options_of(topic, { "out" },
      { producer = { kafka = { ["bootstrap.servers"] = mock.bootstrap_servers } } }))
    local report, message, code = consumer:run { every = 0.1, tick = function() end }
    assert.is_nil(report)
    assert.equal("CLUSTER", code)
    assert.matches("exactly once needs the consumer's cluster", message, 1, true)
    mock:close()
  end)
end)

modes.each(describe, "exactly once", function(mode)
  before_each(function() member.use(mode) end)
  after_each(member.end_all)

  it("commits reads, skips and dead letters as well", function()
    local topic, out, dead = helper.topic(1), { helper.topic(1) }, helper.topic(1)
    local sent = audit.send(topic, 40, function(i)
      local values = { "only", "end skip", "end dead_letter", "" }
      return { key = "key" .. i, value = values[i % 4 + 1] }
    end)
    local reading, book = letters.reader { dead }
    reading.group = helper.name "group"
    local reader = member.start(reading)
    local consumer = member.start(options_of(topic, out, { dead_letter = { topic = dead } }))
    wait_covered(topic, topic, sent, consumer, reader)
    book:wait(LIMIT, dead, 10, reader)
    local report = assert(consumer:close())
    assert.same({ 20, 10, 10 }, { report.done, report.skipped, report.dead_lettered })
    assert.equal(10, #read(out[1], 1))
    local letter = book:list(dead)[1]
    assert.equal("asked for", letter.header["strand.reason"])
    assert.equal("1", letter.header["strand.attempts"])
    assert.equal(topic, letter.header["strand.topic"])
  end)

  it("takes over a group from at least once, and gives it back", function()
    local topic, out = helper.topic(1), { helper.topic(1) }
    local sent = audit.send(topic, 60, function(i)
      return { key = "key" .. i, value = i == 1 and "gate first" or "" }
    end)
    local folder = helper.folder()
    local function open(delivery)
      local options = options_of(topic, out, { handler_args = { out = out, folder = folder } })
      if delivery == "at_least_once" then
        options.delivery, options.transactional_id, options.transaction_interval = nil, nil, nil
        options.transaction_records, options.commit_interval = nil, 0.1
      end
      return member.start(options)
    end
    local function done_but_first(consumer)
      helper.eventually(LIMIT, function()
        local entry = member.committed(topic, topic)[0]
        return entry and member.covers(entry, 59)
      end, consumer)
    end
    local first = open "at_least_once" -- all but the lowest, which is in its handler
    done_but_first(first)
    first:close { mode = "now", timeout = 1 }
    local second = open "exactly_once"
    member.wait_assigned(LIMIT, second, 1)
    second:close { mode = "now", timeout = 5 }
    assert.equal(59, #read(out[1], 1))
    fixture.release(folder, "first")
    local third = open "exactly_once"
    wait_covered(topic, topic, sent, third)
    assert(third:close())
    local fourth = open "at_least_once"
    member.wait_assigned(LIMIT, fourth, 1)
    assert(fourth:close())
    assert.same(GOOD, count(out[1], 1, sent))
  end)
end)
