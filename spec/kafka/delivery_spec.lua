-- Nothing is lost, and what the group knows to be done is not done again.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local function by_key(keys, value)
  return function(i) return { key = "key" .. i * 7919 % keys, value = value or tostring(i) } end
end

describe("a consumer that is stopped and started again", function()
  after_each(member.end_all)

  it("loses and repeats nothing", function()
    local topic, log = helper.topic(4), audit.new()
    local sent = audit.send(topic, 2000, by_key(200))
    local options = { group = helper.name "group", topics = { topic }, workers = 8,
      retry = { delay = 0.01 }, audit = log, handler_args = { slow = 0.004, fail = 0.03 } }
    for _, count in ipairs { 300, 900, 2000 } do
      local consumer = member.start(options)
      local before = log.ends
      log:wait(30, count, consumer)
      local report = assert(consumer:close())
      assert.equal(log:read().ends - before, report.done)
    end
    assert.same(audit.GOOD, log:result(sent))
  end)

  it("never commits backwards, nor what is not done", function()
    local topic, log, group = helper.topic(3), audit.new(), helper.name "group"
    local sent = audit.send(topic, 1500, by_key(100))
    local options = { group = group, topics = { topic }, workers = 8, commit_interval = 0.02,
      retry = { delay = 0.02 }, audit = log, handler_args = { slow = 0.006, fail = 0.1 } }
    local last, looks, backwards, early = {}, 0, 0, 0
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
    local function look()
      local entries = {}
      for _, entry in ipairs(assert(admin:group_offsets(group, { topic }))) do
        entries[entry.partition] = entry
        if entry.offset < (last[entry.partition] or 0) then backwards = backwards + 1 end
        last[entry.partition] = entry.offset
      end
      log:read()
      for _, record in ipairs(sent) do
        local covered = member.covers(entries[record.partition], record.offset)
        if covered and not log.done[record.id] then early = early + 1 end
      end
      looks = looks + 1
    end
    -- However slow a look is: more records come until there were enough.
    local function send_until_looked_at()
      if looks > 20 then return end
      for _, record in ipairs(audit.send(topic, 100, by_key(100))) do sent[#sent + 1] = record end
    end
    for _, count in ipairs { 500, 1000, 1500 } do
      local consumer = member.start(options)
      helper.eventually(30, function()
        look()
        if count == 1500 then send_until_looked_at() end
        return log.ends >= (count == 1500 and #sent or count)
      end, consumer)
      consumer:close()
    end
    look()
    admin:close()
    assert.same({ 0, 0 }, { backwards, early })
    assert.is_true(looks > 20)
    local ends = { [0] = 0, 0, 0 }
    for _, record in ipairs(sent) do ends[record.partition] = record.offset + 1 end
    assert.same(ends, last)
  end)
end)

describe("a consumer that is killed", function()
  after_each(member.end_all)

  it("leaves a record that was stuck, and none of the thousands that were done above it, "
    .. "to the next one", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    local sent = audit.send(topic, 4000, function(i)
      return { key = i == 1 and "stuck" or "key" .. i % 500, value = i == 1 and "gate one" or "" }
    end)
    local options = { group = group, topics = { topic }, workers = 8, commit_interval = 0.1,
      audit = log, kafka = { ["session.timeout.ms"] = 2000 } }
    local child = member.spawn(options)
    log:wait(30, 3999)
    helper.eventually(10, function() return member.covers(member.committed(group, topic)[0], 3999) end)
    local more = audit.send(topic, 4000, by_key(500))
    log:wait(30, 5000)
    child:signal "KILL"
    assert.equal(128 + 9, child:wait(10))
    local entry = member.committed(group, topic)[0]
    local killed_at = log:read().ends
    assert.equal(0, entry.offset)
    assert.is_true(#entry.metadata <= 4096)
    for _, record in ipairs(more) do sent[#sent + 1] = record end
    local covered, again = {}, 0
    for _, record in ipairs(sent) do
      if member.covers(entry, record.offset) then covered[#covered + 1] = record end
    end
    log:open "one"
    local consumer, events = member.start(options)
    log:wait(30, #sent, consumer)
    helper.eventually(20, function() -- the event may come after the records
      return member.events(events, "restored", { offset = 0 }) == 1
    end, consumer)
    for _, record in ipairs(covered) do
      if log.done[record.id] > 1 then again = again + 1 end
    end
    local result = log:result(sent, { alone = true, killed = child.pid })
    assert.same({ 0, 0, 0, 0 }, { again, result.lost, result.inversions, result.overlaps })
    assert.is_true(#covered >= 3999)
    -- It had done more than it could tell the group, but not much more.
    assert.is_true(result.repeated <= killed_at - #covered)
    member.commit_all(consumer)
    assert.equal(8000, member.committed(group, topic)[0].offset)
  end)
end)

describe("a commit's metadata", function()
  after_each(member.end_all)

  -- Whether record i is among a half of all, the same each time.
  local function half(i)
    return i * 16807 % 2147483647 * 48271 % 2147483647 % 2 == 0
  end

  it("keeps to max_metadata under pressure, and nothing is lost by that", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    local sent = audit.send(topic, 250, function(i)
      return { key = "key" .. i, value = half(i) and "fail 1" or "" }
    end)
    local consumer, events = member.start { group = group, topics = { topic }, workers = 4,
      max_metadata = 64, commit_interval = 0.05, retry = { delay = 1.5, jitter = 0 },
      audit = log }
    local longest = 0
    helper.eventually(60, function()
      local entry = member.committed(group, topic)[0]
      if entry then longest = math.max(longest, #entry.metadata) end
      return log:read().ends == #sent
    end, consumer)
    assert.same(audit.GOOD, log:result(sent))
    assert.is_true(member.events(events, "partition_blocked", { reason = "metadata" }) > 0)
    assert.is_true(member.events(events, "partition_unblocked") > 0)
    assert.equal(0, member.events(events, "metadata_unwritable"))
    assert.is_true(longest > 16 and longest <= 64, "longest: " .. longest)
  end)

  -- The longest payload that has the limit's length, of records half of which
  -- are done.
  local function payload_of(length)
    local count, text = length * 6
    repeat
      count = count - 1
      local incomplete = { { 0, 0 } }
      for i = 1, count - 1 do
        if half(i) then incomplete[#incomplete + 1] = { i, i } end
      end
      text = strand.metadata.encode(0, count, incomplete, length)
    until text and #text == length
    return text, count
  end

  it("is taken by the broker at exactly 4,096 characters", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    local text, count = payload_of(4096)
    local sent, open = audit.send(topic, count + 1, function(i)
      return { key = "key" .. i, value = i > 1 and half(i - 1) and "gate one" or "" }
    end), {}
    member.tool("commit", group, topic, 0, 0, text)
    local given = { offset = 0, metadata = text }
    for _, record in ipairs(sent) do
      if not member.covers(given, record.offset) then open[#open + 1] = record end
    end
    local consumer, events = member.start { group = group, topics = { topic }, audit = log,
      commit_interval = 0.05 }
    log:wait(20, 1, consumer)
    assert(consumer:commit())
    local entry = member.committed(group, topic)[0]
    assert.equal(open[2].offset, entry.offset)
    assert.equal(4096, #entry.metadata)
    assert.equal(0, member.events(events, "commit_failed"))
    log:open "one"
    log:wait(30, #open, consumer)
    assert.same(audit.GOOD, log:result(open))
    assert.equal(#open, log.starts)
    member.commit_all(consumer)
    assert.equal(#sent, member.committed(group, topic)[0].offset)
  end)
end)

describe("a topic with gaps", function()
  after_each(member.end_all)

  it("is done to its end when that is a transaction's marker", function()
    local topic, log, group = helper.topic(1), audit.new(), helper.name "group"
    member.tool("transact", topic, 0, "commit", 10)
    member.tool("transact", topic, 0, "abort", 10)
    member.tool("transact", topic, 0, "commit", 10)
    local consumer, events = member.start { group = group, topics = { topic }, audit = log }
    log:wait(20, 20, consumer)
    helper.eventually(10, function()
      local entry = consumer:assignment()[1]
      return entry and entry.lag == 0 and entry.true_lag == 0
    end, consumer)
    assert.equal(33, member.committed(group, topic)[0].offset)
    assert.equal(20, log:read().starts)
    for _, type in ipairs { "truncated", "reset", "error", "sought" } do
      assert.equal(0, member.events(events, type))
    end
  end)
end)
