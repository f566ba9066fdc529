-- Where a partition is read from when its log was cut: three nodes, see
-- scripts/test (cluster).
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local function node(action, id, how)
  local name = assert(os.getenv "STRAND_KAFKA_NAME", "run by: scripts/kafka run")
  local ok = os.execute(("scripts/kafka %s %s.%s %s > /dev/null"):format(action, name, id, how or ""))
  assert(ok == true or ok == 0, action .. " failed")
end

-- Partition 0: { leader, replicas, isr }, or nil while nobody says.
local function look(topic)
  local admin = assert(strand.admin { log = false,
    kafka = { ["bootstrap.servers"] = helper.broker() } })
  local known = admin:describe({ topics = { topic } }, 20)
  admin:close()
  return known and known.topics[topic].partitions[1]
end

local function leader_of(topic)
  local partition = look(topic)
  return partition and partition.leader
end

describe("a partition", function()
  after_each(member.end_all)

  it("whose log was cut by an unclean election is read from its start, with an event", function()
    local topic, log, group = helper.name "topic", audit.new(), helper.name "group"
    local function numbered(i) return { key = "key" .. i % 5, value = tostring(i) } end
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(admin:create_topics { [topic] = { partitions = 1, replication = 2, config = {
      ["unclean.leader.election.enable"] = "true", ["min.insync.replicas"] = "1" } } })
    admin:close()
    local consumer, events = member.start { group = group, topics = { topic }, audit = log,
      commit_interval = 0.1 }
    member.wait_assigned(30, consumer, 1)

    -- Its other copy misses all ten records, and then is all there is.
    local partition = helper.eventually(30, function()
      local found = look(topic)
      return found and #found.isr == 2 and found
    end, consumer)
    local leader, other = partition.leader, partition.replicas[1]
    if other == leader then other = partition.replicas[2] end
    node("kill", other)
    helper.eventually(40, function()
      local found = look(topic)
      return found and #found.isr == 1 and found.isr[1] == leader
    end, consumer)
    audit.send(topic, 10, numbered)
    log:wait(30, 10, consumer)
    assert(consumer:commit())
    node("kill", leader)
    node("restart", other)
    helper.eventually(60, function() return leader_of(topic) == other end, consumer)

    helper.eventually(60, function() return member.events(events, "reset") > 0 end, consumer)
    local count, event = member.events(events, "reset")
    assert.same({ 1, topic, 0, 10, 0 }, { count, event.topic, event.partition, event.offset, event.to })
    local before = #log:read().list + 1
    audit.send(topic, 20, numbered)
    helper.eventually(60, function() return log:read().done[topic .. "/0/19"] end, consumer)
    helper.eventually(60, function()
      assert(consumer:commit())
      return member.committed(group, topic)[0].offset == 20
    end, consumer)
    local done = {}
    for i = before, #log:read().list do
      local entry = log.list[i]
      if entry.what == "done" then done[#done + 1] = entry.offset end
    end
    table.sort(done)
    for offset = 0, 19 do assert.equal(offset, done[offset + 1]) end
    node("restart", leader)
  end)
end)
