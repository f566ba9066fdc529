-- delivery = "exactly_once": what handlers produce is in one transaction with
-- the offsets. The mechanics, on the mock, which takes transactions, and keeps
-- neither their promises nor their offsets: those are
-- spec/kafka/exactly_once_spec.lua's.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local member = require "spec.support.member"
local modes = require "spec.support.modes"

modes.each(describe, "exactly once", function(mode)
  local scenes = {}

  local function scene(name, options, values)
    local this = { topic = helper.topic(1), out = helper.topic(1), group = helper.name "group",
      folder = fixture.folder(), events = {} }
    local list = {}
    for i, value in ipairs(values) do list[i] = { key = "k" .. i % 7, value = value } end
    fixture.produce(this.topic, list)
    scenes[name] = this
    options.delivery, options.transactional_id = "exactly_once", helper.name "id"
    options.topics, options.producer = { this.topic }, options.producer or {}
    options.kafka = { ["group.id"] = this.group }
    options.handler = options.handler or "spec.handlers.exactly"
    options.handler_args = { out = options.batch and this.out or { this.out }, folder = this.folder }
    options.on_event = function(event) table.insert(this.events, event) end
    if options.dead_letter then this.dead = options.dead_letter.topic end
    this.consumer = fixture.consumer(options)
    return this.consumer
  end

  local function times(count, value)
    local list = {}
    for i = 1, count do list[i] = value end
    return list
  end

  local reader, book

  setup(function()
    fixture.open(mode)
    local dead = helper.topic(1)
    fixture.start(
      scene("plain", { transaction_interval = 0.1 }, times(500, "")),
      scene("reads", {}, times(20, "only")),
      scene("asked", { transaction_interval = 3600, transaction_timeout = 7200 }, times(5, "")),
      scene("small", { transaction_interval = 3600, transaction_timeout = 7200,
        transaction_records = 10 }, times(40, "")),
      scene("slow", { workers = 2, transaction_interval = 0.1 }, { "gate slow", "", "", "" }),
      scene("closed", { transaction_interval = 3600, transaction_timeout = 7200 }, times(30, "")),
      scene("ends", { transaction_interval = 0.1, dead_letter = { topic = dead },
        retry = { delay = 0.01 } },
        { "fail 2", "end skip", "end dead_letter", "end park", "" }),
      scene("batch", { transaction_interval = 0.1, handler = "spec.handlers.producing",
        batch = { size = 3, linger = 1, by = "partition" }, retry = { delay = 0.01 },
        rate = { records_per_second = 50, burst = 3 } }, { "", "fail", "skip", "", "", "" }),
      scene("failing", { transaction_interval = 0.1 }, times(10, "")),
      scene("members", { members = 2, transaction_interval = 0.1 }, times(10, "")))
    local reading
    reading, book = letters.reader { scenes.plain.out, scenes.slow.out, scenes.batch.out, dead }
    reading.kafka = { ["group.id"] = helper.name "group" }
    reader = fixture.consumer(reading)
    fixture.start(reader)
  end)
  teardown(fixture.close)

  -- As far as the member was told: -1 where it has committed nothing.
  local function committed(this)
    for _, partition in ipairs(this.consumer:assignment()) do
      if partition.topic == this.topic then return partition.committed or -1 end
    end
  end

  local function wait_committed(this, offset)
    helper.eventually(20, function() return committed(this) == offset end, this.consumer, reader)
  end

  it("commits what was produced, in the order of each key", function()
    local this = scenes.plain
    wait_committed(this, 500)
    book:wait(20, this.out, 500, reader)
    local last, inversions = {}, 0
    for _, output in ipairs(book:list(this.out)) do
      local offset = tonumber(output.value:match "(%d+)$")
      if offset < (last[output.key] or 0) then inversions = inversions + 1 end
      last[output.key] = offset
    end
    assert.equal(0, inversions)
    local report = assert(this.consumer:close())
    assert.same({ 500, 500, 500 }, { report.done, report.outputs_sent, report.outputs_acknowledged })
    assert.equal(0, (member.events(this.events, "commit_failed")))
  end)

  it("commits records that have produced nothing", function()
    wait_committed(scenes.reads, 20)
  end)

  it("makes a transaction when commit() asks for one, and answers after it", function()
    local this = scenes.asked
    helper.eventually(20, function() return this.consumer:stats().sending == 5 end, this.consumer)
    assert.equal(-1, committed(this))
    assert.is_true(this.consumer:commit(20))
    wait_committed(this, 5)
    assert.equal(0, this.consumer:stats().sending)
  end)

  it("makes one when transaction_records wait, long before its interval", function()
    wait_committed(scenes.small, 40)
  end)

  it("goes on beside a slow handler, which holds back its own offset alone", function()
    local this = scenes.slow
    book:wait(20, this.out, 3, this.consumer, reader)
    helper.eventually(20, function() return this.consumer:stats().done == 3 end, this.consumer)
    wait_committed(this, 0)
    fixture.release(this.folder, "slow")
    wait_committed(this, 4)
    book:wait(20, this.out, 4, this.consumer, reader)
  end)

  it("makes the last one at a close", function()
    local this = scenes.closed
    helper.eventually(20, function() return this.consumer:stats().sending > 0 end, this.consumer)
    local report = assert(this.consumer:close { timeout = 20 })
    assert.same({ 30, 0 }, { report.done, #report.unfinished })
    assert.equal(30, report.committed[1].offset)
  end)

  it("has retries, skips, dead letters and parked records in it", function()
    local this = scenes.ends
    book:wait(20, this.dead, 1, this.consumer, reader)
    helper.eventually(20, function()
      local s = this.consumer:stats()
      return s.done == 2 and s.skipped == 1 and s.dead_lettered == 1 and s.parked == 1
    end, this.consumer)
    local letter = book:list(this.dead)[1]
    assert.same({ "1", "asked for" }, { letter.header["strand.attempts"],
      letter.header["strand.reason"] })
    assert.is_true(this.consumer:commit(20))
    wait_committed(this, 3) -- the parked one is not done
  end)

  it("has batches in it, at a rate: each of their records is there as it ended", function()
    local this = scenes.batch
    wait_committed(this, 6)
    book:wait(20, this.out, 5, this.consumer, reader)
    local values = {}
    for i, output in ipairs(book:list(this.out)) do values[i] = output.value end -- offset/attempt
    table.sort(values)
    assert.same({ "0/1", "1/2", "3/1", "4/1", "5/1" }, values)
    local report = assert(this.consumer:close())
    assert.same({ 5, 1, 1 }, { report.done, report.skipped, report.failed })
  end)

  it("gives each member an id of its own", function()
    local this = scenes.members
    wait_committed(this, 10)
    assert.equal(0, (member.events(this.events, "renewed")))
  end)

  it("goes on after errors of the coordinator, and after one of the group", function()
    local this = scenes.failing
    wait_committed(this, 10)
    helper.mock():fail("AddOffsetsToTxn", "COORDINATOR_LOAD_IN_PROGRESS", 2)
    helper.mock():fail("TxnOffsetCommit", "ILLEGAL_GENERATION", 1)
    fixture.produce(this.topic, { { key = "a", value = "" } })
    wait_committed(this, 11)
    local count, event = member.events(this.events, "commit_failed")
    assert.same({ 1, "ILLEGAL_GENERATION" }, { count, event and event.code })
    assert.equal(11, assert(this.consumer:close()).done)
  end)
end)
