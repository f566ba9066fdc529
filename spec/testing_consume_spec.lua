-- strand.testing.consume: many records through the engine, in a time of its own. The table of
-- outcomes is that of worker threads and local mode (spec/outcomes_spec.lua).
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local rows = require "spec.support.outcomes"
local strand = require "strand"

local FIXED = { attempts = 3, delay = 10, factor = 1, jitter = 0 }

local function consume(options, records)
  return assert(strand.testing.consume(options, records))
end

local function raises(pattern, ...)
  local ok, message = pcall(strand.testing.consume, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(message))
end

local function states(report)
  local list = {}
  for i, result in ipairs(report.records) do list[i] = result.state end
  return list
end

local function offsets(list)
  local found = {}
  for i, result in ipairs(list) do found[i] = result.offset end
  return found
end

-- Records of these keys, each with its number as its value.
local function keyed(...)
  local list = {}
  for i, key in ipairs { ... } do list[i] = { key = key, value = tostring(i) } end
  return list
end

-- The last value of that name.
local function header(letter, name)
  local found
  for _, pair in ipairs(letter.headers) do
    if pair[1] == name then found = pair[2] end
  end
  return found
end

describe("an outcome in strand.testing.consume", function()
  local KEYS = { exhausted = { true, 1 }, failed = { "done", 1 } }

  local function key_of(row) return row[1]:sub(1, 60) end

  for _, place in ipairs {
    { name = "key", letters = true, exhausted = "dead_lettered", options = { ordering = "key" } },
    { name = "unordered", letters = true, exhausted = "skipped",
      options = { ordering = "unordered", exhausted = "skip" } },
    { name = "no dead letter topic", exhausted = "parked", options = {} },
  } do
    describe("(" .. place.name .. ")", function()
      local report, at

      setup(function()
        local options, records = place.options, {}
        at = {}
        for i, row in ipairs(rows) do
          records[i], at[row] = { key = key_of(row), value = row[1] }, i
        end
        options.handler = "spec.handlers.outcomes"
        options.retry = { attempts = 2, delay = 3600 }
        if place.letters then options.dead_letter = { topic = "letters" } end
        report = consume(options, records)
      end)

      for _, row in ipairs(rows) do
        it("is what a consumer makes of it: " .. key_of(row), function()
          local result, ending = report.records[at[row]], row[2]
          local failures = KEYS[ending] and KEYS[ending][2] or 0
          if ending == "failed" then ending = "done"
          elseif ending == "exhausted" then ending = place.exhausted
          elseif ending == "dead_lettered" and not place.letters then ending = "parked" end
          assert.equal(ending, result.state)
          assert.equal(failures, #result.failures)
          assert.equal(row[2] == "failed" and 2 or 1, result.attempts)
          local reason, wanted = result.reason, row[4] or row[3]
          if ending == "dead_lettered" then
            assert.equal(result.offset, tonumber(header(result.dead_letter, "strand.offset")))
            reason = header(result.dead_letter, "strand.reason")
            if reason == "" then reason = nil end
          elseif ending == "parked" and row[2] == "dead_lettered" then
            reason = reason:match "^no dead letter topic:? ?(.+)$"
          end
          if row[3] == false then assert.is_nil(reason) end
          if wanted then assert.matches(wanted, reason) end
        end)
      end

      it("is counted as there", function()
        local counts = { done = 0, skipped = 0, dead_lettered = 0, parked = 0 }
        for _, result in ipairs(report.records) do counts[result.state] = counts[result.state] + 1 end
        for name, count in pairs(counts) do assert.equal(count, report[name], name) end
        assert.equal(counts.parked, report.unfinished_total)
        assert.equal("finished", report.ended)
        assert.matches("^strand.Report %(done %d+, failed %d+", tostring(report))
      end)
    end)
  end
end)

describe("the order of strand.testing.consume", function()
  local function fail_once(record)
    if record.value == "1" and record.attempt == 1 then error "not yet" end
  end

  it("is that of each key, and a failure holds up its own alone", function()
    local report = consume({ handler = fail_once, retry = FIXED }, keyed("a", "b", "a", "b"))
    assert.same({ 1, 2, 4, 1, 3 }, report.order)
    assert.same({ "done", "done", "done", "done" }, states(report))
    assert.equal(10, report.calls[4].began)
    assert.equal(10, report.seconds)
  end)

  it("is that of the partition, where that is asked for", function()
    local report = consume({ handler = fail_once, retry = FIXED, ordering = "partition" },
      keyed("a", "b", "c"))
    assert.same({ 1, 1, 2, 3 }, report.order)
  end)

  it("shows what ran side by side", function()
    local function wait(_, context) context:sleep(60) end
    local records = keyed("a", "b", "a", "c")
    local report = consume({ handler = wait }, records)
    assert.same({ 1, 2, 4, 3 }, report.order)
    assert.equal(3, report.most_at_once)
    assert.equal(120, report.seconds)
    assert.same({ 60, 120 }, { report.calls[4].began, report.calls[4].ended })
    assert.equal(2, consume({ handler = wait, max_in_flight = 2 }, records).most_at_once)
    assert.equal(1, consume({ handler = wait, ordering = "partition" }, records).most_at_once)
    assert.equal(1, consume({ handler = function() end }, records).most_at_once)
  end)

  it("is that of offsets that were given, with gaps", function()
    local report = consume({ handler = function() end },
      { { key = "a", offset = 7 }, { key = "a", offset = 70 }, { key = "a" } })
    assert.same({ 7, 70, 71 }, offsets(report.records))
    assert.same({ { topic = "topic", partition = 0, offset = 72, metadata = "" } }, report.committed)
  end)
end)

describe("whatever handlers do, strand.testing.consume", function()
  -- A generator of its own: the same on each Lua.
  local function random(seed)
    local state = seed
    return function(n)
      state = (state * 16807) % 2147483647
      return state % n + 1
    end
  end

  local function act(any, dones)
    return function(_, context)
      local what = any(9)
      if what == 1 then error "no"
      elseif what == 2 then return context:skip()
      elseif what == 3 then return context:retry(any(100))
      elseif what == 4 then return context:park()
      elseif what == 5 then return context:dead_letter()
      elseif what == 6 then context:sleep(any(30))
      elseif what == 7 then dones[#dones + 1] = context:defer()
      elseif what == 8 and dones[1] then table.remove(dones)(any(2) == 1) end
    end
  end

  local function run(seed)
    local any, records = random(seed), {}
    for i = 1, 5 + any(30) do records[i] = { key = "k" .. any(4), partition = any(2) - 1 } end
    return consume({ handler = act(any, {}), max_in_flight = any(6), max_ready = any(6),
      deadline = any(2) == 1 and 20 or nil, dead_letter = any(2) == 1 and { topic = "dead" } or nil,
      max_buffered_records = any(2) == 1 and 1 + any(10) or nil }, records)
  end

  local FINAL = { done = true, skipped = true, dead_lettered = true }

  it("keeps the order of each key, and loses nothing", function()
    for seed = 1, 100 do
      local report, last, counts = run(seed), {}, { parked = 0 }
      for i, result in ipairs(report.records) do
        local key = result.partition .. result.key
        local before = last[key]
        if before and result.attempts > 0 then
          assert(FINAL[before.state], ("seed %d: %d began, and %s is %s"):format(seed, i, before.id,
            before.state))
          assert(before.calls[#before.calls].ended <= result.calls[1].began, "seed " .. seed)
        end
        last[key] = result
        counts[result.state] = (counts[result.state] or 0) + 1
      end
      for state in pairs(FINAL) do assert.equal(counts[state] or 0, report[state], "seed " .. seed) end
      assert.equal(counts.parked, report.parked)
      for _, result in ipairs(report.unfinished) do assert.is_nil(FINAL[result.state]) end
    end
  end)
end)

describe("the time of strand.testing.consume", function()
  it("goes on to each retry, however long that is", function()
    local at = {}
    local report = consume({ start_time = 1700000000,
      retry = { attempts = 5, delay = 3600, factor = 2, max_delay = 86400, jitter = 0 },
      handler = function() error "always" end,
      on_event = function(event) at[#at + 1] = { event.type, event.time } end }, keyed "a")
    local began = {}
    for i, call in ipairs(report.calls) do began[i] = call.began / 3600 end
    assert.same({ 0, 1, 3, 7, 15 }, began)
    assert.equal("parked", report.records[1].state)
    assert.same({ "record_failed", 1700000000 }, at[1])
    assert.same({ "parked", 1700000000 + 15 * 3600 }, at[6])
  end)

  it("is the same in each run, by chance or not", function()
    local options = { handler = function() error "no" end, retry = { attempts = 8, jitter = 1 } }
    local one, two = consume(options, keyed("a", "b", "c")), consume(options, keyed("a", "b", "c"))
    assert.equal(one.seconds, two.seconds)
    assert.same(one.order, two.order)
  end)

  it("goes on by a rate", function()
    local report = consume({ handler = function() end,
      rate = { records_per_second = 2, burst = 1 } }, keyed("a", "b", "c", "d", "e"))
    assert.equal(2, report.seconds)
    assert.equal(0.5, report.calls[2].began)
  end)

  it("passes its limit nowhere, and what waits then is reported", function()
    local report = consume({ handler = function() return false end, max_time = 1000,
      retry = { attempts = 65535, delay = 300, factor = 1, jitter = 0, max_delay = 300 } }, keyed("a", "a"))
    assert.equal("max_time", report.ended)
    assert.equal(1000, report.seconds)
    local first = report.records[1]
    assert.same({ "waiting", 4, 300, 1200 }, { first.state, first.attempts, first.delay, first.retry_at })
    assert.equal("behind", report.records[2].state)
    assert.same({}, report.blocked)
    assert.equal(2, report.unfinished_total)
  end)

  it("has an end where a record is tried for ever at once", function()
    local report = consume({ handler = function(_, context) return context:retry(0) end,
      max_attempts = 50 }, keyed "a")
    assert.equal("max_attempts", report.ended)
    assert.equal(50, report.records[1].attempts)
    assert.equal("buffered", report.records[1].state)
    assert.equal(1000, consume({ handler = function(_, context) return context:retry(0) end },
      keyed "a").records[1].attempts)
  end)
end)

it("strand.testing.consume ends what goes on and on at one time", function()
  raises("handlers were resumed 100000 times and no time went on: context:sleep%(0%) does not wait",
    { handler = function(_, context) while true do context:sleep(0) end end }, keyed "a")
end)

describe("a deadline in strand.testing.consume", function()
  it("fails the attempt, and its key is held until the handler returns", function()
    local report = consume({ deadline = 10, retry = FIXED, handler = function(record, context)
      if record.value == "1" and record.attempt == 1 then
        assert(context:remaining() == 10)
        context:sleep(100)
      end
    end }, keyed("a", "a", "b"))
    local failure = report.records[1].failures[1]
    assert.matches("deadline", failure.reason)
    assert.is_true(failure.at >= 10 and failure.at < 11)
    assert.same({ 1, 3, 1, 2 }, report.order)
    assert.equal(110, report.calls[3].began)
    assert.same({ "done", "done", "done" }, states(report))
  end)
end)

describe("context:defer() in strand.testing.consume", function()
  it("ends the record when done is called, by whoever does", function()
    local done
    local report = consume({ retry = FIXED, handler = function(record, context)
      if record.key == "a" and record.attempt == 1 then
        done = done or context:defer()
      elseif record.key == "b" then
        context:sleep(30)
        assert(done(false, "the callback says no"))
        assert(not done())
      end
    end }, keyed("a", "b", "a"))
    assert.same({ "done", "done", "done" }, states(report))
    assert.equal("the callback says no", report.records[1].failures[1].reason)
    assert.equal(30, report.calls[1].ended)
    assert.same({ 1, 2, 1, 3 }, report.order)
    assert.equal(2, report.most_at_once)
  end)

  it("counts once, also before the handler returns", function()
    local again
    local report = consume({ retry = FIXED, handler = function(_, context)
      local done = context:defer()
      assert(done())
      again = { done(false, "once more") }
      return false, "too late"
    end }, keyed "a")
    assert.same({ "done" }, states(report))
    assert.same({ nil, "the record has ended already", "ENDED" }, again)
    assert.equal(0, #report.records[1].failures)
  end)

  it("that is forgotten blocks the run, which ends", function()
    local report = consume({ handler = function(record, context)
      if record.value == "2" then context:defer() end
    end }, keyed("a", "b", "b", "c"))
    assert.equal("blocked", report.ended)
    assert.same({ "done", "running", "behind", "done" }, states(report))
    assert.same({ 1 }, offsets(report.blocked))
    assert.is_nil(report.blocked[1].calls[1].ended)
    assert.equal(0, report.seconds)
    assert.equal(1, report.committed[1].offset)
  end)

  it("that is forgotten fails by the deadline, if there is one", function()
    local report = consume({ deadline = 5, handler = function(_, context) context:defer() end },
      keyed "a")
    assert.equal("blocked", report.ended)
    assert.matches("deadline", report.records[1].reason)
  end)
end)

describe("a batch in strand.testing.consume", function()
  it("is filled, or has waited for long enough", function()
    local report = consume({ batch = { size = 3, linger = 60, by = "partition" },
      handler = function() end }, keyed("a", "b", "c", "d", "e"))
    assert.same({ 1, 2, 3 }, report.calls[1].records)
    assert.same({ 4, 5 }, report.calls[2].records)
    assert.same({ 0, 60 }, { report.calls[1].began, report.calls[2].began })
  end)

  it("has each record end by itself", function()
    local report = consume({ batch = { size = 10, by = "mixed" }, retry = FIXED, producer = {},
      handler = function(batch)
        for i, record in ipairs(batch) do
          if record.value == "1" and record.attempt == 1 then batch:fail(i, "once")
          elseif record.value == "2" then batch:skip(i, "known")
          elseif record.value == "3" then batch:park(i)
          else batch:produce(i, { topic = "out", value = record.value }) end
        end
      end }, keyed("a", "b", "c", "d"))
    assert.same({ "done", "skipped", "parked", "done" }, states(report))
    assert.equal("known", report.records[2].reason)
    assert.same({ 1 }, report.calls[2].records)
    assert.same({ { topic = "out", value = "4" }, { topic = "out", value = "1" } }, report.produced)
  end)
end)

describe("what strand.testing.consume says of", function()
  it("an error: its traceback", function()
    local function deep() error "deep inside" end
    local report = consume({ handler = function() deep() end, retry = { attempts = 1 } }, keyed "a")
    assert.matches("testing_consume_spec.lua:%d+: deep inside\nstack traceback:.*deep",
      report.records[1].reason)
  end)

  it("outputs: in order, and none of an attempt that failed", function()
    local report = consume({ producer = {}, retry = FIXED, handler = function(record, context)
      context:produce { topic = "out", key = record.key, value = record.value .. record.attempt,
        headers = { { "n", "1" }, { "m" } }, partition = 3, timestamp = 12.5 }
      if record.value == "1" and record.attempt == 1 then error "no" end
    end }, keyed("a", "b"))
    assert.same({ topic = "out", key = "b", value = "21", partition = 3, timestamp = 12.5,
      headers = { { "n", "1" }, { "m" } } }, report.produced[1])
    assert.equal(2, #report.produced)
    assert.equal("12", report.records[1].produced[1].value)
    assert.equal(report.produced[1], report.records[2].produced[1])
  end)

  it("an output that is known to be impossible", function()
    local function produce(_, context) context:produce { topic = "out", value = ("x"):rep(2000) } end
    local retry = { attempts = 1 }
    local report = consume({ handler = produce, retry = retry }, keyed "a")
    assert.matches("needs the option 'producer'", report.records[1].reason)
    report = consume({ handler = produce, retry = retry,
      producer = { kafka = { ["message.max.bytes"] = 1000 } } }, keyed "a")
    assert.matches("larger than 'message.max.bytes' %(1000%)", report.records[1].reason)
  end)

  it("a parked record: what is behind it waits, or goes on", function()
    local function park(record, context)
      if record.value == "1" then return context:park "look at it" end
    end
    local report = consume({ handler = park }, keyed("a", "a", "b"))
    assert.same({ "parked", "behind", "done" }, states(report))
    assert.equal("look at it", report.records[1].reason)
    assert.same({ 0, 1 }, offsets(report.unfinished))
    assert.equal("finished", report.ended)
    report = consume({ handler = park, parked_holds = "record" }, keyed("a", "a", "b"))
    assert.same({ "parked", "done", "done" }, states(report))
  end)

  it("a stop: what ran ends, nothing else starts", function()
    local report = consume({ handler = function(record, context)
      if record.value == "1" then context:sleep(5) end
      if record.value == "2" then return context:stop "enough" end
    end, max_in_flight = 2 }, keyed("a", "b", "c", "d"))
    assert.same({ "stopped", "STOPPED_BY_HANDLER", "enough" },
      { report.ended, report.code, report.message })
    assert.equal("done", report.records[1].state)
    assert.equal("buffered", report.records[2].state)
    assert.same({ 1, 2 }, report.order)
    report = consume({ handler = function(_, context) context:stop_consumer() end }, keyed("a", "a"))
    assert.same({ "stopped", "STOPPED" }, { report.ended, report.code })
    assert.same({ "done", "buffered" }, states(report))
  end)

  it("commits: what a crash at the end would repeat", function()
    local function slow(record, context)
      if record.key == "slow" then context:sleep(11) elseif record.key == "last" then context:defer() end
    end
    local options = { handler = slow, commit_interval = 5 }
    local report = consume(options, { { key = "a" }, { key = "slow" }, { key = "b" }, { key = "last" } })
    -- The commits at 5 and 10 seconds say that the first and the third are done.
    assert.same({ 1, 3 }, offsets(report.repeats))
    assert.equal(3, report.committed[1].offset)
    report = consume({ handler = function() end }, keyed("a", "b"))
    assert.equal(2, report.committed[1].offset)
  end)

  it("several topics and partitions, by their routes", function()
    local seen = {}
    local function note(name)
      return function(record) seen[#seen + 1] = name .. " " .. record.id end
    end
    local report = consume({ handler = { orders = note "orders", ["^eu"] = { note "eu",
      retry = { attempts = 1 } } }, topics = { "orders", "^eu-.*" } },
      { { topic = "eu-a", partition = 2 }, { topic = "orders" }, { topic = "orders", partition = 1 } })
    table.sort(seen)
    assert.same({ "eu eu-a/2/0", "orders orders/0/0", "orders orders/1/0" }, seen)
    assert.equal(3, #report.committed)
  end)

  it("at most once: a failure is final", function()
    local report = consume({ delivery = "at_most_once", handler = function(record)
      if record.value == "2" then error "no" end
    end }, keyed("a", "a", "a"))
    assert.same({ "done", "skipped", "done" }, states(report))
    assert.equal(3, #report.calls)
  end)

  it("a retry function, which is asked here", function()
    local asked = {}
    local report = consume({ handler = function() error "no" end,
      retry = function(attempt, _, record)
        asked[#asked + 1] = attempt .. record.key
        if attempt < 3 then return 100 * attempt end
      end }, keyed "a")
    assert.same({ "1a", "2a", "3a" }, asked)
    assert.equal(300, report.seconds)
    assert.equal("parked", report.records[1].state)
  end)

  it("records beyond what the budgets hold: all are read in the end", function()
    local records = {}
    for i = 1, 300 do records[i] = { key = "k" .. i % 7, value = ("x"):rep(100), partition = i % 3 } end
    local report = consume({ handler = function(_, context) context:sleep(1) end,
      max_buffered_records = 10, max_ready = 2 }, records)
    assert.equal(300, report.done)
    assert.is_true(report.most_at_once <= 10)
    report = consume({ handler = function(_, context) return context:park() end,
      max_waiting_records = 5, max_buffered_records = 10 }, records)
    assert.equal("blocked", report.ended)
    assert.equal("unread", report.blocked[#report.blocked].state)
    assert.equal(300, report.unfinished_total)
  end)

  it("nothing: there were no records", function()
    local report = consume({ handler = function() end }, {})
    assert.same({ {}, "finished", 0 }, { report.records, report.ended, report.seconds })
  end)
end)

describe("worker threads in strand.testing.consume", function()
  it("are so many handlers, which cannot wait", function()
    local report = consume({ workers = 4, retry = { attempts = 1 }, worker_memory = 2 ^ 24,
      handler = function(_, context) context:sleep(1) end }, keyed "a")
    assert.matches("context:sleep%(%) is for handlers with workers = 0 or the option 'loop'", report.records[1].reason)
    local upvalue = 0 -- which a consumer would refuse
    report = consume({ workers = 4, handler = function() upvalue = upvalue + 1 end }, keyed("a", "b"))
    assert.same({ 2, 2 }, { upvalue, report.done })
  end)

  it("with a loop in each are coroutines, which can", function()
    local report = consume({ workers = 2, loop = "luv", max_slice = 0.1,
      handler = function(_, context) context:sleep(1) end }, keyed("a", "b", "c"))
    assert.equal(3, report.most_at_once)
    raises("option 'loop': 'uv' is not one of its names", { workers = 2, loop = "uv",
      handler = function() end }, {})
    raises("option 'loop': means nothing with workers = 0", { loop = "luv",
      handler = function() end }, {})
  end)
end)

describe("the handler of strand.testing.consume", function()
  it("is a module that is set up and torn down, or does not load", function()
    local calls = {}
    package.loaded["spec.consumed"] = {
      setup = function(args) calls[#calls + 1] = "setup " .. args.name end,
      handle = function(_, context) calls[#calls + 1] = "handle " .. context.args.name end,
      teardown = function() calls[#calls + 1] = "teardown" end,
    }
    consume({ handler = "spec.consumed", handler_args = { name = "n" } }, keyed("a", "b"))
    assert.same({ "setup n", "handle n", "handle n", "teardown" }, calls)
    package.loaded["spec.consumed"].teardown = function() error "it does not go" end
    raises("it does not go", { handler = "spec.consumed", handler_args = { name = "n" } }, {})
    package.loaded["spec.consumed"] = nil
    local report, message, code = strand.testing.consume({ handler = "spec.is_not_there" }, keyed "a")
    assert.same({ nil, "HANDLER" }, { report, code })
    assert.matches("spec.is_not_there", message)
  end)

  it("may run another consume", function()
    local inner
    local report = consume({ handler = function()
      inner = consume({ handler = function(_, context) context:sleep(1) end }, keyed("x", "x"))
    end }, keyed "a")
    assert.same({ 1, 2, 2, 0 }, { report.done, inner.done, inner.seconds, report.seconds })
  end)

  it("may keep what it was given, which is over", function()
    local kept, context_kept, done
    consume({ handler = function(record, context)
      kept, context_kept, done = record, context, context:defer()
    end }, keyed "a")
    for _, f in ipairs { function() return kept.key end, function() context_kept:remaining() end } do
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.matches("after its handler returned", message)
    end
    assert.same({ nil, "the consumer is closed", "CLOSED" }, { done() })
  end)
end)

describe("strand.testing.consume", function()
  local function nothing() end

  it("refuses what makes no sense, and names it", function()
    raises("options: table expected, got nil", nil, {})
    raises("option 'handler'", {}, {})
    raises("unknown option 'reytry' %(did you mean 'retry'%?%)", { handler = nothing, reytry = 1 }, {})
    raises("option 'members': 1 expected: there is no group", { handler = nothing, members = 2 }, {})
    raises("option 'delivery': 'exactly_once' needs a broker", { handler = nothing,
      delivery = "exactly_once", transactional_id = "x" }, {})
    raises("option 'max_slice': only with workers = 0, or a 'loop'", { handler = nothing, workers = 2,
      max_slice = 0.1 }, {})
    raises("option 'workers': whole number from 0 to 256", { handler = nothing, workers = 0.5 }, {})
    raises("option 'max_time'", { handler = nothing, max_time = -1 }, {})
    raises("option 'max_attempts'", { handler = nothing, max_attempts = 0 }, {})
    raises("option 'start_time'", { handler = nothing, start_time = "now" }, {})
    raises("option 'kafka'", { handler = nothing, kafka = "x" }, {})
    raises("'dead_letter' needs the option", { handler = nothing, exhausted = "dead_letter" }, {})
  end)

  it("refuses records that cannot be, and says which", function()
    local options = { handler = nothing }
    raises("argument 'records': list of records expected, got nil", options)
    raises("argument 'records': list of records expected", options, { key = "a" })
    raises("argument 'records%[2%]'", options, { { key = "a" }, "b" })
    raises("argument 'records%[1%].key': string expected, got 7", options, { { key = 7 } })
    raises("unknown argument 'records%[1%].vlaue' %(did you mean", options, { { vlaue = "x" } })
    raises("argument 'records%[2%].offset': above 5 expected, .* before it in topic/0; got 5",
      options, { { offset = 5 }, { offset = 5 } })
    raises("argument 'records%[1%].topic': required where not one topic",
      { handler = nothing, topics = { "a", "b" } }, { {} })
    raises("argument 'records%[1%].topic': no topic or pattern of 'topics' reaches 'c'",
      { handler = nothing, topics = { "a" } }, { { topic = "c" } })
    raises("argument 'records%[3%].topic': required where not one topic", options,
      { { topic = "a" }, { topic = "b" }, {} })
    raises("no route for the topic 'c'", { handler = { a = nothing } }, { { topic = "c" } })
  end)

  it("refuses a module's own table, which would be routes", function()
    raises("a table is routes, and a module is given by its name; a topic 'handle' is written "
      .. "{ handle = { f } }", { handler = { handle = nothing, setup = nothing } }, { {} })
    raises("a module is given by its name", { handler = { handle_batch = nothing },
      batch = { size = 2 } }, { {} })
    assert.equal("handle/0/0", consume({ handler = { handle = { nothing } } }, { {} }).records[1].id)
  end)

  it("takes the one topic that records name for those that name none", function()
    local report = consume({ handler = nothing }, { { topic = "orders" }, {} })
    assert.equal("orders/0/1", report.records[2].id)
  end)

  it("gives the error of an on_event, and is over", function()
    raises("the test is to see it", { retry = { attempts = 1 }, handler = function() error "x" end,
      on_event = function() error "the test is to see it" end }, keyed("a", "b"))
    collectgarbage()
    collectgarbage()
  end)
end)

describe("a dead letter of strand.testing.consume", function()
  setup(fixture.open)
  teardown(fixture.close)

  -- What a letter says of the time of the run, and where it was read.
  local function comparable(letter)
    local list = {}
    for i, pair in ipairs(letter.headers) do
      local value = pair[2]
      if pair[1]:find "_failure$" then value = value:gsub("%d", "9") end
      list[i] = { pair[1], value }
    end
    local copy = { key = letter.key, value = letter.value }
    copy.headers, copy.partition = list, letter.partition
    copy.timestamp = letter.timestamp
    return copy
  end

  it("is what a consumer writes of the same records", function()
    local topic, dead, group = helper.topic(1), helper.topic(1), helper.name "group"
    local function records()
      return {
        { key = "k1", value = "error with text", timestamp = 1700000000.125,
          headers = { { "a", "1" }, { "a" }, { "strand.group", "another" } } },
        { key = "k2", value = "return context dead_letter because return", timestamp = 1700000001 },
        { key = "k3", value = "throw strand dead_letter because throw", timestamp = 1700000002,
          headers = { { "b", "\0\255" } } },
        { value = "always", timestamp = 1700000003 },
        { key = "", value = "often 2", timestamp = 1700000004 },
        { key = "k5", timestamp = 1700000005, value = "return strand dead_letter" },
      }
    end
    local options = function()
      return { topics = { topic }, workers = 0, handler = "spec.handlers.outcomes",
        kafka = { ["group.id"] = group }, retry = { attempts = 2, delay = 0.01, jitter = 0 },
        handler_args = nil, dead_letter = { topic = dead, partition = "same" } }
    end
    fixture.produce(topic, records())
    local reading, read = letters.reader { dead }
    local consumer, reader = fixture.start(fixture.consumer(options()), fixture.consumer(reading))
    helper.eventually(30, function()
      local stats = consumer:stats()
      return stats.done + stats.dead_lettered == 6
    end, consumer)
    assert(consumer:close())
    local written = read:wait(20, dead, 4, reader)
    local report = consume(options(), records())
    assert.equal(#written, #report.dead_letters)
    local by_key = {}
    for _, letter in ipairs(written) do by_key[letter.key or "none"] = letter end
    for _, letter in ipairs(report.dead_letters) do
      assert.same(comparable(by_key[letter.key or "none"]), comparable(letter))
    end
  end)

  it("has the times of the run", function()
    local report = consume({ start_time = 1700000000, dead_letter = { topic = "dead" },
      retry = { attempts = 3, delay = 3600, factor = 1, jitter = 0, max_delay = 3600 },
      handler = function() error "no" end }, keyed "a")
    local letter = report.dead_letters[1]
    assert.equal("1700000000.000", header(letter, "strand.first_failure"))
    assert.equal("1700007200.000", header(letter, "strand.last_failure"))
    assert.equal("3", header(letter, "strand.attempts"))
    assert.equal("strand.testing", header(letter, "strand.group"))
  end)

  it("that comes from its own topic is parked", function()
    local report = consume({ dead_letter = { topic = "dead" }, topics = { "dead" },
      handler = function(_, context) return context:dead_letter "again" end },
      { { key = "a", headers = { ["strand.group"] = "strand.testing" } }, { key = "b" } })
    assert.same({ "parked", "dead_lettered" }, states(report))
    assert.matches("it comes from the dead letter topic", report.records[1].reason)
  end)
end)
