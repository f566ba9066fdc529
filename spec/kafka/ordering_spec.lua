-- What stays in order, and what runs beside it.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"

describe("a consumer", function()
  after_each(member.end_all)

  it("keeps the order of keys through retries, with 16 workers on 11 partitions", function()
    local topic, log = helper.topic(11), audit.new()
    local sent = audit.send(topic, 4000, function(i)
      return { key = "key" .. i * 7919 % 300, value = tostring(i) }
    end)
    local consumer = member.start { group = helper.name "group", topics = { topic },
      workers = 16, retry = { delay = 0.01 }, audit = log,
      handler_args = { slow = 0.006, fail = 0.05 } }
    log:wait(60, #sent, consumer)
    local report = assert(consumer:close())
    assert.same(audit.GOOD, log:result(sent))
    assert.equal(#sent, report.done)
    assert.equal(log.starts - #sent, report.failed)
    assert.is_true(report.failed > 100)
    assert.same({}, report.unfinished)
  end)

  it("keeps the order of a partition, whatever the keys", function()
    local topic, log = helper.topic(4), audit.new "partition"
    local sent = audit.send(topic, 1000, function(i) return { key = "key" .. i } end)
    local consumer = member.start { group = helper.name "group", topics = { topic },
      ordering = "partition", workers = 8, retry = { delay = 0.01 }, audit = log,
      handler_args = { slow = 0.002, fail = 0.03 } }
    log:wait(60, #sent, consumer)
    assert.same(audit.GOOD, log:result(sent))
  end)

  it("keeps the order of keys of several topics", function()
    local topics, log, sent = {}, audit.new(), {}
    for t = 1, 3 do
      topics[t] = helper.topic(t)
      for _, record in ipairs(audit.send(topics[t], 500, function(i)
        return { key = "key" .. i % 40 }
      end)) do sent[#sent + 1] = record end
    end
    local consumer = member.start { group = helper.name "group", topics = topics, workers = 16,
      retry = { delay = 0.01 }, audit = log, handler_args = { slow = 0.004, fail = 0.03 } }
    log:wait(60, #sent, consumer)
    assert.same(audit.GOOD, log:result(sent))
  end)

  -- One record stands in its handler; the others of its partition go on.
  local function progress(ordering, expected)
    local topic, log = helper.topic(1), audit.new(ordering)
    local sent = audit.send(topic, 300, function(i)
      return { key = "key" .. i % 3, value = i == 1 and "gate one" or "" }
    end)
    local consumer = member.start { group = helper.name "group", topics = { topic },
      ordering = ordering, workers = 4, audit = log }
    log:wait_start(15, sent[1].id, 1, consumer)
    log:wait(15, expected, consumer)
    assert.is_nil(log.done[sent[1].id])
    assert.equal(expected, log.ends)
    assert(consumer:commit())
    log:open "one"
    log:wait(15, #sent, consumer)
    assert.same(audit.GOOD, log:result(sent))
  end

  it("goes on with every other record beside a stuck one when it is unordered", function()
    progress("unordered", 299)
  end)

  it("goes on with every other key beside a stuck one", function()
    progress("key", 200)
  end)

  it("sends each topic of a pattern along its route", function()
    local prefix, log = helper.name "routes", audit.new()
    local orders, others = prefix .. ".orders", { prefix .. ".a", prefix .. ".b" }
    local admin = assert(require "strand".admin {
      kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(admin:create_topics { [orders] = 2, [others[1]] = 1, [others[2]] = 1 })
    admin:close()
    local function send(topic) return audit.send(topic, 20, function() return { key = "k" } end) end
    local sent = send(orders)
    send(others[1])
    send(others[2])
    local path = log.gates .. "/others"
    local consumer = member.start { group = helper.name "group",
      topics = { "^" .. prefix .. "\\..*" }, audit = log, handler_args = { others = path },
      handler = {
        [orders] = "spec.support.recorder",
        ["^" .. prefix] = {
          handler = function(record, context)
            if record.attempt == 1 and record.offset == 3 then return nil, "again" end
            local file = assert(io.open(context.args.others, "ab"))
            file:write(record.topic, " ", record.offset, "\n")
            file:close()
          end,
          retry = { delay = 0 },
        },
      } }
    log:wait(20, 20, consumer)
    helper.eventually(20, function()
      return select(2, (helper.read(path) or ""):gsub("\n", "")) >= 40
    end, consumer)
    assert.same(audit.GOOD, log:result(sent))
    assert.equal(20, #log.list - log.starts)
    for _, topic in ipairs(others) do
      local offsets = {}
      for offset in helper.read(path):gmatch(topic:gsub("%p", "%%%0") .. " (%d+)\n") do
        offsets[#offsets + 1] = tonumber(offset)
      end
      local wanted = {}
      for i = 1, 20 do wanted[i] = i - 1 end
      assert.same(wanted, offsets)
    end
  end)

  it("with three members gives each its partitions, and keeps the order of keys", function()
    local topic, log = helper.topic(11), audit.new()
    local consumer = member.start { group = helper.name "group", topics = { topic },
      members = 3, workers = 8, retry = { delay = 0.01 }, audit = log,
      handler_args = { slow = 0.004, fail = 0.03 } }
    local first = audit.send(topic, 1000, function(i) return { key = "key" .. i % 200 } end)
    log:wait(60, #first, consumer)
    member.wait_assigned(20, consumer, 11)
    local sent = audit.send(topic, 1000, function(i) return { key = "key" .. i % 200 } end)
    for _, record in ipairs(first) do sent[#sent + 1] = record end
    log:wait(60, #sent, consumer)
    assert.same(audit.GOOD, log:result(sent))
    helper.eventually(10, function() -- the snapshots of the members are of one time then
      local counts = { 0, 0, 0 }
      for _, entry in ipairs(consumer:assignment()) do
        counts[entry.member + 1] = counts[entry.member + 1] + 1
      end
      table.sort(counts)
      return counts[1] == 3 and counts[2] == 4 and counts[3] == 4
    end, consumer)
  end)
end)
