-- How long a handler may take: what is interrupted at its deadline and what
-- cannot be, what becomes of the others meanwhile, and warnings of slow
-- records. spec/handlers/late.lua has the handlers.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

local compiles = rawget(_G, "jit") ~= nil
local TICK = 0.005 -- of the clock that a record's begin is read from

describe("a deadline", function()
  local scenes = {}

  local function scene(name, options, records)
    local this = { topic = helper.topic(1), folder = fixture.folder(), events = {} }
    for i, record in ipairs(records) do
      if type(record) == "string" then record = { key = "k" .. i, value = record } end
      local fifo = (record.value or ""):match "^fifo:(.*)"
      if fifo then assert(os.execute("mkfifo " .. this.folder .. "/" .. fifo)) end
      records[i] = record
    end
    this.records = records
    scenes[name] = this
    options.topics = { this.topic }
    options.handler = options.handler or "spec.handlers.late"
    options.handler_args = { folder = this.folder, compiled = options.compiled }
    options.compiled = nil
    options.retry = options.retry or { delay = 0.01, factor = 1, jitter = 0 }
    options.on_event = function(event)
      this.events[event.type] = this.events[event.type] or {}
      table.insert(this.events[event.type], event)
    end
    this.consumer = fixture.consumer(options)
    return this.consumer
  end

  local reached = { "spin", "pcall", "pcall of pcall", "error handler", "wrap", "resume",
    "coroutine in coroutine", "kept coroutine", "own hook" }

  local function around(deadline) -- of 20 ms: 8 to 32
    local records = {}
    for i = 1, 150 do
      records[2 * i - 1] = ("take:%g"):format(deadline * (0.4 + 1.2 * ((i * 37) % 100) / 100))
      records[2 * i] = "nothing"
    end
    return records
  end

  setup(function()
    fixture.open()
    local stuck = {}
    for i = 1, 4 do stuck[i] = "fifo:f" .. i end
    stuck[5] = "nothing"
    fixture.start(
      scene("reached", { workers = 1, deadline = 0.25 }, { (table.unpack or unpack)(reached) }),
      scene("asked", { workers = 1, deadline = 0.1, retry = function(attempt, reason)
        return reason:match "longer than its deadline of 0.1 s" and attempt * 0.4 or nil
      end }, { "spin" }),
      scene("lost", { workers = 1, deadline = 0.1 }, { { key = "a", value = "fifo:f1" },
        { key = "a" }, { key = "b" }, { key = "c" } }),
      scene("late failure", { workers = 1, deadline = 0.1, retry = { attempts = 1 } },
        { "fifo:f1" }),
      scene("compiled", { workers = 1, deadline = 0.1, compiled = true }, { "loop", "nothing" }),
      scene("several", { workers = 2, deadline = 0.1 }, stuck),
      scene("closed", { workers = 2, deadline = 0.1 }, { "fifo:f1", "fifo:f2", "fifo:f3",
        "nothing" }),
      scene("lease", { workers = 1, deadline = 0.1 }, { { key = "a" }, { key = "a", value = "spin" },
        { key = "a" }, { key = "a" } }),
      scene("race", { workers = 3, deadline = 0.02 }, around(0.02)),
      scene("race of a key", { workers = 1, ordering = "partition", deadline = 0.02 },
        around(0.02)),
      scene("batch", { workers = 1, deadline = 0.1, batch = { size = 10, linger = 0.2 },
        handler = function(batch)
          batch:done(1)
          if jit then jit.off() end
          if batch[1].attempt == 1 then while true do end end -- luacheck: ignore 542
        end }, { "1", "2", "3" }),
      scene("none", { workers = 1, slow_after = 0.1 }, { "take:0.3" }),
      scene("changed", { workers = 1 }, { "nothing" }),
      scene("remaining", { workers = 1, deadline = 5, handler = function(record, context)
        local left = context:remaining()
        if record.attempt == 1 then return false, type(left) .. " " .. left end
      end }, { "1" }),
      scene("no deadline", { workers = 1, handler = function(record, context)
        if record.attempt == 1 then return false, tostring(context:remaining()) end
      end }, { "1" }),
      scene("coroutines", { workers = 1, handler = function(record)
        if record.attempt == 1 then return false, require "spec.handlers.coroutines"() end
      end }, { "1" }),
      scene("slow", { workers = 3, slow_after = 0.1 }, { "wait:go", "fifo:f1",
        "wait hooked:go" }),
      not compiles and scene("reopened", { workers = 1, deadline = 0.5, slow_after = 60,
        worker_memory = 4 * 2 ^ 20, -- LuaJIT has none
        handler = "spec.handlers.reopened" }, { "hoard", "spin" }) or nil
    )
  end)
  local function release(this, fifo) -- from C, where its handler is stuck
    assert(io.open(this.folder .. "/" .. fifo, "r+")):close()
  end

  teardown(function()
    for _, fifo in ipairs { "f1", "f2", "f3" } do release(scenes.closed, fifo) end
    fixture.close()
  end)

  -- The consumers join at once, which takes seconds, but their handlers spin
  -- in turn: on a busy machine they would only keep each other from a core.
  local function begin(name)
    local this = scenes[name]
    if this.records then fixture.produce(this.topic, this.records) end
    this.records = nil
    return this
  end

  local function events(this, kind)
    return this.events[kind] or {}
  end

  local function wait(this, condition)
    helper.eventually(20, condition, this.consumer)
  end

  local function done(name, count)
    local this = begin(name)
    wait(this, function() return this.consumer:stats().done == count end)
    while this.consumer:step(0) > 0 do end
    return this, fixture.journal(this.folder)
  end

  local function reasons(list)
    local text = {}
    for i, event in ipairs(list) do text[i] = event.reason end
    return table.concat(text, "\n")
  end

  -- What the journal says of each attempt, as "offset/attempt ...".
  local function order(lines, what)
    local text = {}
    for _, line in ipairs(lines) do
      if line.what == what then text[#text + 1] = line.offset .. "/" .. line.attempt end
    end
    return table.concat(text, " ")
  end

  it("ends what Lua can reach, and the record is tried again", function()
    local this = done("reached", #reached)
    assert.equal(#reached, #events(this, "record_failed"))
    for i, event in ipairs(events(this, "record_failed")) do
      assert.equal("the handler took longer than its deadline of 0.25 s", event.reason, reached[i])
    end
    assert.equal(2 * #reached, fixture.count(this.folder, "enter"))
  end)

  it("asks the retry function as for any failure, and its time counts from the end", function()
    local _, lines = done("asked", 1)
    assert.equal("0/1 0/2", order(lines, "enter"))
    local began = {}
    for _, line in ipairs(lines) do
      if line.what == "enter" then began[#began + 1] = line.time end
    end
    local waited = began[2] - began[1] -- the first was entered when its deadline ran already
    assert.is_true(waited >= 0.45, ("tried again after %.3f s"):format(waited))
  end)

  it("in C loses the worker: a spare goes on, but not with the same key", function()
    local this = begin "lost"
    wait(this, function() return fixture.count(this.folder, "leave") == 2 end)
    wait(this, function() return events(this, "worker_lost")[1] end)
    assert.equal("0/1 2/1 3/1", order(fixture.journal(this.folder), "enter"))
    local lost = events(this, "worker_lost")[1]
    assert.same({ this.topic, 0, 0, "a" }, { lost.topic, lost.partition, lost.offset, lost.key })
    assert.equal("worker 1: its handler goes on after the deadline of 0.1 s; a spare takes over",
      lost.reason)
    assert.equal(1, #events(this, "record_failed")) -- told when it was late, not when it ends
    release(this, "f1")
    local _, lines = done("lost", 4)
    assert.equal("0/1 2/1 3/1 0/2 1/1", order(lines, "enter"))
    assert.equal("2/1 3/1 0/2 1/1", order(lines, "leave")) -- interrupted when C returned
    assert.equal(1, #events(this, "record_failed"))
    assert.equal(1, #events(this, "worker_lost"))
  end)

  it("passed at the last attempt exhausts the record, whatever its handler returns", function()
    local this = begin "late failure"
    wait(this, function() return events(this, "worker_lost")[1] end)
    assert.is_nil(this.events.parked)
    release(this, "f1")
    wait(this, function() return events(this, "parked")[1] end)
    assert.matches("deadline of 0.1 s", events(this, "parked")[1].reason)
    assert.equal(1, fixture.count(this.folder, "enter"))
    assert.equal(0, this.consumer:stats().done)
  end)

  it("of compiled code is LuaJIT's limit: a spare takes over, as it does for C", function()
    local this = begin "compiled"
    if compiles then
      wait(this, function() return events(this, "worker_lost")[1] and this.consumer:stats().done == 1 end)
      fixture.release(this.folder, "go")
    end
    local _, lines = done("compiled", 2)
    assert.equal(1, #events(this, "record_failed"))
    assert.equal(compiles and 1 or 0, #events(this, "worker_lost"))
    -- The loop ends, and then what is interpreted is interrupted.
    assert.is_nil(order(lines, "leave"):find("0/1", 1, true))
  end)

  it("has as many spares as there are workers, and says when none is left", function()
    local this = begin "several"
    wait(this, function() return #events(this, "worker_lost") == 4 end)
    assert.equal(4, fixture.count(this.folder, "enter"))
    local _, spares = reasons(events(this, "worker_lost")):gsub("a spare takes over", "")
    local _, without = reasons(events(this, "worker_lost")):gsub("no spare is left", "")
    assert.same({ 2, 2 }, { spares, without })
    -- One comes back, and serves the fifth; two, and one of them ends.
    for i = 1, 4 do release(this, "f" .. i) end
    local _, lines = done("several", 5)
    assert.equal(9, fixture.count(this.folder, "enter"))
    local last = {}
    for _, line in ipairs(lines) do last[line.worker] = true end
    assert.is_nil(last[5]) -- no further spare was made
    wait(this, function() return this.consumer:stats().workers == 2 end)
  end)

  it("does not keep a consumer from closing in time", function()
    local this = begin "closed"
    wait(this, function() return #events(this, "worker_lost") == 3 end)
    wait(this, function() return fixture.count(this.folder, "leave") == 1 end)
    local seconds, result = helper.seconds(function()
      return { this.consumer:close { timeout = 1 } }
    end)
    local code, report = result[3], result[4]
    assert.is_true(seconds < 2 + helper.late, ("close took %.2f s"):format(seconds))
    assert.equal("TIMED_OUT", code)
    assert.is_true(report.detached)
    assert.equal(1, report.done)
    assert.equal(3, report.unfinished_total)
  end)

  it("of a record in the middle of a lease sends it first, and then the rest", function()
    local _, lines = done("lease", 4)
    assert.equal("0/1 1/1 1/2 2/1 3/1", order(lines, "enter"))
  end)

  -- The journal says when each attempt was due, by the clock of the deadline
  -- itself; the event says when it was over.
  local function never_early(name)
    local this, lines = done(name, 300)
    local due, failed, attempts = {}, {}, {}
    local function attempt_of(place) return place.offset .. ":" .. place.attempt end
    for _, line in ipairs(lines) do
      if line.what == "due" then due[attempt_of(line)] = line.time end
    end
    -- On a busy machine an attempt that has nothing to do may be late as well.
    for _, event in ipairs(events(this, "record_failed")) do
      local attempt = attempt_of(event)
      local early = (due[attempt] or -math.huge) - event.time
      assert.is_true(early < TICK, ("%s failed %.4f s early"):format(attempt, early))
      assert.is_nil(failed[attempt])
      failed[attempt] = true
    end
    local late = 0
    for offset = 0, 298, 2 do late = late + (failed[offset .. ":1"] and 1 or 0) end
    assert.is_true(late > 40 and late <= 150, ("%d of 150 were late"):format(late))
    -- An attempt that was cut off, and one that was late, come again; no other.
    -- One that was late before it had a core has not even entered.
    local count = 0
    for _, line in ipairs(lines) do
      if line.what == "enter" then
        assert.is_nil(attempts[attempt_of(line)])
        attempts[attempt_of(line)] = true
        count = count + 1
      end
    end
    for attempt in pairs(failed) do count = count + (attempts[attempt] and 0 or 1) end
    assert.equal(300 + #events(this, "record_failed"), count)
  end

  it("never hits another record than the one that passed it", function() never_early "race" end)
  it("never hits a later record of the same lease", function() never_early "race of a key" end)

  it("of a batch is that of all its records, whatever it said of some", function()
    local this = done("batch", 3)
    assert.equal(3, #events(this, "record_failed"))
    assert.equal(3, select(2, reasons(events(this, "record_failed")):gsub("deadline of 0.1 s", "")))
  end)

  -- A word that came before the handler began was not heard, nor said again.
  if not compiles then
    it("ends also what begins after it has passed", function()
      local this = done("reopened", 2)
      assert.matches("^xxx", helper.read(this.folder .. "/opened"))
      assert.matches("deadline of 0.5 s", events(this, "record_failed")[2].reason)
    end)
  end

  it("is none unless it is asked for", function()
    local this = done("none", 1)
    assert.is_nil(this.events.record_failed)
    assert.equal(1, fixture.count(this.folder, "enter"))
  end)

  it("may be changed while the consumer runs", function()
    local this = done("changed", 1)
    assert(this.consumer:configure { deadline = 0.1 })
    fixture.produce(this.topic, { { key = "k", value = "spin" } })
    done("changed", 2)
    assert.matches("deadline of 0.1 s", events(this, "record_failed")[1].reason)
  end)

  it("can be asked for by the handler: context:remaining()", function()
    local this = done("remaining", 1)
    local left = events(this, "record_failed")[1].reason:match "^number (.*)"
    assert.is_true(tonumber(left) > 0 and tonumber(left) <= 5, left)
    assert.equal("nil", events(done("no deadline", 1), "record_failed")[1].reason)
  end)

  it("leaves coroutines what they are", function()
    local reason = events(done("coroutines", 1), "record_failed")[1].reason
    assert.equal(require "spec.handlers.coroutines"(), reason)
  end)

  local function slow(this, offset)
    local list = {}
    for _, event in ipairs(events(this, "slow_record")) do
      if event.offset == offset then list[#list + 1] = event end
    end
    return list
  end

  it("or not, a slow record is an event, again and again while it lasts", function()
    local this = begin "slow"
    wait(this, function()
      return #slow(this, 0) >= 3 and #slow(this, 1) >= 3 and #slow(this, 2) >= 3
    end)
    local seconds = 0.1
    for i = 1, 3 do
      local event = slow(this, 0)[i]
      assert.is_true(event.seconds >= seconds - TICK, ("told after %g s"):format(event.seconds))
      assert.same({ this.topic, 0, "k1", 1 },
        { event.topic, event.partition, event.key, event.attempt })
      seconds = seconds * 2
    end
    fixture.release(this.folder, "go")
    release(this, "f1")
    done("slow", 3)
    assert.is_nil(this.events.record_failed) -- the handler's own hook came back
  end)

  it("or not, a slow record's event has a traceback where it can be had", function()
    local this = done("slow", 3)
    for _, event in ipairs(slow(this, 0)) do
      assert.matches("^stack traceback:\n.*late.lua:%d+.*late.lua:%d+", event.reason)
    end
    for _, event in ipairs(slow(this, 1)) do
      assert.matches("^no traceback: the handler is in C", event.reason)
    end
  end)
end)
