-- A broker that stopped hearing of new topics is the group's coordinator: the
-- leader of the group assigns such a topic to nobody, without an error. On
-- three nodes: scripts/kafka run VERSION --nodes 3 -- scripts/busted LUA spec/cluster
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local function keyed(i) return { key = "key" .. i % 20, value = tostring(i) } end

local function code_of_health(consumer) return (select(3, consumer:health())) end

local function has(consumer, topic, count)
  local found = 0
  for _, place in ipairs(consumer:assignment()) do
    if place.topic == topic then found = found + 1 end
  end
  return found == count
end

-- Its input: closed, the program ends.
local function spawn(sign, name, ...)
  local words = { member.program(name) }
  for i = 1, select("#", ...) do words[#words + 1] = "'" .. tostring((select(i, ...))) .. "'" end
  local process = assert(io.popen(table.concat(words, " ") .. " > " .. sign, "w"))
  return process
end

local nodes = {}
for address in (helper.broker() or ""):gmatch "[^,]+" do nodes[#nodes + 1] = address end

describe("a topic that the group's coordinator does not know yet", function()
  local frozen

  local function thaw()
    if frozen then frozen:close() end
    frozen = nil
  end

  after_each(function()
    thaw()
    member.end_all()
  end)

  local function coordinator(group)
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
    local found = assert(admin:groups { group })[1]
    admin:close()
    return found.coordinator.id
  end

  -- It serves on, and hears nothing new. The addresses of the others.
  local function freeze(id)
    local folder = helper.folder()
    local name = ("build/kafka/run/%s.%d/pid"):format(os.getenv "STRAND_KAFKA_NAME", id)
    local pid = assert(helper.read(name)):match "%d+"
    frozen = spawn(folder .. "/out", "freeze", pid, ("kafka-%d-metadat"):format(id),
      folder .. "/frozen")
    helper.eventually(10, function() return helper.read(folder .. "/frozen") end)
    local others = {}
    for i, address in ipairs(nodes) do
      if i ~= id then others[#others + 1] = address end
    end
    return table.concat(others, ",")
  end

  local function create(servers, topic, partitions)
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = servers } })
    assert(admin:create_topics { [topic] = partitions })
    admin:close()
  end

  -- What is subscribed, and what one topic of it is called.
  local function is_told_and_consumed(topics, topic, options)
    local old, group, log = helper.topic(2), helper.name "group", audit.new()
    topics[#topics + 1] = old
    local first = member.start { group = group, topics = { old }, audit = log }
    helper.eventually(30, function() return has(first, old, 2) end, first)
    assert(first:close())
    local others = freeze(coordinator(group))
    create(others, topic, 2)
    local kafka = { ["bootstrap.servers"] = others }
    for name, value in pairs(options or {}) do kafka[name] = value end
    local consumer, events = member.start { group = group, topics = topics, audit = log,
      kafka = kafka }
    helper.eventually(30, function() return has(consumer, old, 2) end, consumer)
    helper.eventually(60, function()
      return member.events(events, "topic_unassigned", { topic = topic }) > 0
    end, consumer)
    helper.eventually(30, function() return code_of_health(consumer) == "TOPIC_UNASSIGNED" end,
      consumer)
    thaw()
    helper.eventually(70, function() return has(consumer, topic, 2) end, consumer)
    local sent = audit.send(topic, 20, keyed)
    log:wait(30, 20, consumer)
    assert.same(audit.GOOD, log:result(sent))
    helper.eventually(10, function() return consumer:health() end, consumer)
  end

  it("is told, and consumed as soon as it does", function()
    local topic = helper.name "fresh"
    is_told_and_consumed({ topic }, topic)
  end)

  it("is told also when a pattern found it", function()
    local prefix = helper.name "pattern"
    is_told_and_consumed({ "^" .. prefix }, prefix .. ".one",
      { ["topic.metadata.refresh.interval.ms"] = 1000 })
  end)
end)
