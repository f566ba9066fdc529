-- Partitions change hands while records are handled.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local modes = require "spec.support.modes"
local strand = require "strand"

-- 2.0 of "2.0.2"; 2.15 is more than 2.3.
local function older(version, minor)
  local major, its = version:match "^(%d+)%.(%d+)"
  return tonumber(major) < 2 or (tonumber(major) == 2 and tonumber(its) < minor)
end

describe("two processes that share a group", function()
  after_each(member.end_all)

  local KEYS = 500

  local function keyed(i)
    return { key = "key" .. i * 7919 % KEYS, value = tostring(i) }
  end

  -- Starts both; each has records in hand when this returns.
  local function start(topic, log, group, count)
    local sent = audit.send(topic, count, keyed)
    local options = { group = group, topics = { topic }, workers = 8, commit_interval = 0.2,
      kafka = { ["session.timeout.ms"] = 3000 },
      retry = { delay = 0.01 }, audit = log, handler_args = { slow = 0.02, fail = 0.02 } }
    local one, other = member.spawn(options), member.spawn(options)
    helper.eventually(30, function()
      local first, second = log:read().processes[one.pid], log.processes[other.pid]
      return first and second and first.ends > 200 and second.ends > 200
    end)
    assert.is_true(log.ends < count / 2, "too late to prove anything")
    return sent, one, other
  end

  local function stop(child)
    child:signal "TERM"
    assert.equal(0, child:wait(20), child:errors())
    child:says("ended OK", 0)
  end

  -- Returns what was committed when the first had ended by the signal.
  local function play(signal, count)
    local topic, log, group = helper.topic(6), audit.new(), helper.name "group"
    local sent, one, other = start(topic, log, group, count)
    one:signal(signal)
    local status = one:wait(20)
    local committed = member.committed(group, topic)
    log:wait(60, count)
    stop(other)
    assert.is_true(log:read().processes[other.pid].ends > count / 4)
    return log, sent, status, one, committed
  end

  it("lose and repeat nothing and keep keys in order when one gets SIGTERM", function()
    local log, sent, status, one = play("TERM", 5000)
    assert.equal(0, status, one:errors())
    one:says("ended OK", 0)
    assert.same(audit.GOOD, log:result(sent))
  end)

  it("repeat only what was not committed when one gets SIGKILL", function()
    local log, sent, status, one, committed = play("KILL", 5000)
    assert.equal(128 + 9, status)
    local result = log:result(sent, { alone = true, killed = one.pid })
    local covered, again = 0, 0
    for _, record in ipairs(sent) do
      if member.covers(committed[record.partition], record.offset) then
        covered = covered + 1
        if log.done[record.id] ~= 1 then again = again + 1 end
      end
    end
    assert.same({ lost = 0, inversions = 0, overlaps = 0, again = 0 },
      { lost = result.lost, inversions = result.inversions, overlaps = result.overlaps,
        again = again })
    assert.is_true(covered > 0)
  end)

  it("lose nothing when one is frozen for longer than its session, and it commits nothing "
    .. "when it wakes", function()
    local topic, log, group = helper.topic(6), audit.new(), helper.name "group"
    local sent, one, other = start(topic, log, group, 3000)
    local ends = {}
    for _, record in ipairs(sent) do ends[record.partition] = record.offset + 1 end
    local function offsets()
      local found = {}
      for partition, entry in pairs(member.committed(group, topic)) do
        found[partition] = entry.offset
      end
      return found
    end
    one:signal "STOP"
    log:wait(60, 3000)
    helper.eventually(10, function()
      for partition, offset in pairs(offsets()) do
        if offset ~= ends[partition] then return false end
      end
      return true
    end)
    one:signal "CONT"
    one:says("event lost", 20)
    stop(one)
    stop(other)
    assert.same(ends, offsets())
    local result = log:result(sent, { alone = true, killed = one.pid })
    assert.same({ 0, 0 }, { result.lost, result.overlaps })
  end)
end)

modes.each(describe, "a member that joins while handlers run", function(mode)
  before_each(function() member.use(mode) end)
  after_each(member.end_all)

  it("repeats nothing when they end within the revoke grace", function()
    local topic, log, group = helper.topic(2), audit.new(), helper.name "group"
    local sent = audit.send(topic, 2, function(i)
      return { partition = i - 1, key = "key" .. i, value = "gate one" }
    end)
    local options = { group = group, topics = { topic }, audit = log, revoke_grace = 5,
      commit_interval = 3600 }
    local one, events = member.start(options)
    log:wait_start(10, sent[1].id, 1, one)
    log:wait_start(10, sent[2].id, 1, one)
    local other, other_events = member.start(options)
    helper.eventually(10, function() return member.events(events, "revoked") == 2 end, one, other)
    log:open "one"
    member.wait_assigned(10, other, 1, one)
    member.wait_assigned(10, one, 1, other)
    assert.same(audit.GOOD, log:result(sent))
    assert.equal(2, log.starts)
    -- What they did was committed inside the rebalance: the new owner knows.
    local _, restored = member.events(other_events, "restored")
    assert.equal(1, restored.offset)
    assert.equal(0, member.events(events, "lost"))
  end)

  -- The range assignor gives the lowest partition to the first name.
  local function outlast(one_name, other_name)
    local topic, log, group = helper.topic(2), audit.new(), helper.name "group"
    local sent = audit.send(topic, 4, function(i)
      return { partition = i == 4 and 1 or 0, key = i == 2 and "other key" or "key",
        value = i == 1 and "gate one" or "" }
    end)
    local theirs = helper.folder()
    local one, events = member.start { group = group, topics = { topic }, audit = log,
      revoke_grace = 0.3, commit_interval = 3600, kafka = { ["client.id"] = one_name } }
    log:wait(10, 2, one) -- "other key" and partition 1
    local other = member.start { group = group, topics = { topic }, audit = log,
      commit_interval = 3600, handler_args = { gates = theirs },
      kafka = { ["client.id"] = other_name } }
    member.wait_assigned(15, other, 1, one)
    member.wait_assigned(15, one, 1, other)
    return { topic = topic, group = group, log = log, sent = sent, one = one, other = other,
      events = events, stuck = sent[1].id,
      open_theirs = function() helper.write(theirs .. "/one", "") end }
  end

  it("waits for a key whose handler outlasts the grace, where its consumer has the "
    .. "partition again", function()
    local play = outlast("a", "b")
    assert.same({ 0 }, { play.one:assignment()[1].partition })
    local more = audit.send(play.topic, 1, function()
      return { partition = 0, key = "third key", value = "" }
    end)
    play.log:wait_start(10, more[1].id, 1, play.one, play.other)
    assert.equal(1, play.log.started[play.stuck])
    play.log:open "one"
    play.log:wait(10, 5, play.one, play.other)
    helper.eventually(10, function() return play.log:read().done[play.stuck] == 2 end,
      play.one, play.other)
    local result = play.log:result(play.sent)
    assert.equal(0, result.lost)
    assert.equal(0, result.overlaps)
    assert(play.one:commit(10))
    assert.equal(4, member.committed(play.group, play.topic)[0].offset)
  end)

  it("makes a result that outlasts the grace worth nothing, where another has the "
    .. "partition", function()
    local play = outlast("b", "a")
    assert.equal(1, play.one:assignment()[1].partition)
    play.log:wait_start(10, play.stuck, 2, play.one, play.other)
    play.log:open "one"
    helper.eventually(10, function() return play.log:read().done[play.stuck] == 1 end,
      play.one, play.other)
    assert(play.one:commit(10))
    assert(play.other:commit(10))
    local entry = member.committed(play.group, play.topic)[0]
    assert.is_false(member.covers(entry, 0))
    assert.is_true(member.covers(entry, 1))
    play.open_theirs()
    play.log:wait(10, 4, play.one, play.other)
    assert(play.other:commit(10))
    assert.equal(3, member.committed(play.group, play.topic)[0].offset)
  end)
end)

describe("static membership", function()
  after_each(member.end_all)

  it("survives a quick restart of two members without a rebalance", function()
    local topic, log, group = helper.topic(3), audit.new(), helper.name "group"
    local _, witness
    _, witness = member.start { group = group, topics = { topic }, audit = log,
      kafka = { ["client.id"] = "z" } }
    local options = { group = group, topics = { topic }, audit = log, members = 2,
      kafka = { ["group.instance.id"] = "static", ["client.id"] = "a" } }
    local one = member.start(options)
    member.wait_joined(15, one, 2, 2, _)
    member.wait_assigned(15, _, 1, one)
    local seen = #witness
    one:close()
    local again = member.start(options)
    member.wait_joined(15, again, 2, 2, _)
    local sent = audit.send(topic, 30, function(i) return { key = "key" .. i } end)
    log:wait(15, 30, again, _)
    assert.same(audit.GOOD, log:result(sent))
    assert.equal(seen, #witness)
  end)

  it("ends a member whose instance id another one takes, without a commit", function()
    local topic, log, group = helper.topic(2), audit.new(), helper.name "group"
    local options = { group = group, topics = { topic }, audit = log, commit_interval = 3600,
      members = 2, kafka = { ["group.instance.id"] = "twin" } }
    local one = member.start(options)
    member.wait_joined(15, one, 2, 2)
    local own = {}
    for _, entry in ipairs(one:assignment()) do own[entry.member] = entry.partition end
    local sent = audit.send(topic, 2, function(i)
      return { partition = own[1], key = "key" .. i, value = i == 1 and "gate one" or "" }
    end)
    log:wait_start(15, sent[1].id, 1, one)
    log:wait(10, 1, one)
    local before = member.committed(group, topic)[own[1]]
    options.members, options.kafka = nil, { ["group.instance.id"] = "twin-1" }
    local other = member.open(options)
    other:pause()
    assert(other:start())
    local seconds, result = helper.seconds(function() return { one:run() } end)
    assert.is_nil(result[1])
    assert.equal("FENCED_INSTANCE_ID", result[3])
    assert.matches("fenced", result[2], 1, true)
    assert.equal(1, result[4].done)
    assert.is_true(seconds < 10 + helper.late)
    assert.same(before, member.committed(group, topic)[own[1]])
    log:open "one"
  end)
end)

describe("a member", function()
  after_each(member.end_all)

  it("stays one for longer than max.poll.interval.ms, idle or busy", function()
    local topic, log = helper.topic(2), audit.new()
    local consumer, events = member.start { group = helper.name "group", topics = { topic },
      members = 2, workers = 1, audit = log,
      kafka = { ["session.timeout.ms"] = 3000, ["max.poll.interval.ms"] = 3000 } }
    member.wait_joined(15, consumer, 2, 2) -- first: one that joins alone would begin it
    local sent = audit.send(topic, 1, function()
      return { partition = 0, key = "key", value = "gate one" }
    end)
    log:wait_start(10, sent[1].id, 1, consumer)
    consumer:step(0)
    local rebalances, seen = consumer:stats().rebalances, #events
    local over = os.time() + 7
    helper.eventually(10, function() return os.time() > over end, consumer)
    assert.equal(rebalances, consumer:stats().rebalances)
    assert.equal(seen, #events)
    log:open "one"
    log:wait(10, 1, consumer)
    assert.same(audit.GOOD, log:result(sent))
  end)

  for _, strategy in ipairs { "range", "roundrobin" } do
    it("shares a group with one that only knows " .. strategy, function()
      local topic, log, group = helper.topic(2), audit.new(), helper.name "group"
      local one = member.start { group = group, topics = { topic }, audit = log }
      member.wait_assigned(15, one, 2)
      local other = member.start { group = group, topics = { topic }, audit = log,
        kafka = { ["partition.assignment.strategy"] = strategy } }
      member.wait_assigned(15, other, 1, one)
      member.wait_assigned(15, one, 1, other)
    end)
  end

  it("is not opened with cooperative-sticky below librdkafka 2.3", function()
    local open = function()
      local consumer = member.open { group = "group", topics = { "topic" },
        kafka = { ["partition.assignment.strategy"] = "cooperative-sticky" } }
      return consumer
    end
    local ok, message = pcall(open)
    if not older(strand.librdkafka_version, 3) then return assert.is_true(ok) end
    assert.is_false(ok)
    assert.matches("cooperative-sticky needs librdkafka 2.3.0 or newer", message, 1, true)
  end)
end)
