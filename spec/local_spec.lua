-- Local mode (workers = 0): handlers in the caller's state, many at once. What
-- becomes of records is in spec/outcomes_spec.lua; here is how handlers run,
-- how long what they hold is valid, and what they cannot break.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local strand = require "strand"

local function wait_for(consumer, condition)
  helper.eventually(30, condition, consumer)
end

local function fails(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(message))
end

describe("a consumer without workers", function()
  setup(fixture.open)
  teardown(fixture.close)

  local events

  -- A started consumer of 'records' in a topic of its own.
  -- With an adapter, it has each body from the first on.
  local function start(records, options, adapter)
    local topic = helper.topic(options.partitions or 1)
    options.partitions = nil
    fixture.produce(topic, records)
    events = {}
    options.topics, options.workers = { topic }, 0
    options.retry = options.retry or { attempts = 2, delay = 0.01 }
    options.on_event = function(event) events[#events + 1] = event end
    local consumer = fixture.consumer(options)
    consumer.adapter = adapter
    assert(consumer:start())
    return consumer, topic
  end

  local function keyed(count, keys)
    local records = {}
    for i = 1, count do records[i] = { key = "k" .. i % (keys or count), value = tostring(i) } end
    return records
  end

  local function find(type)
    for _, event in ipairs(events) do
      if event.type == type then return event end
    end
  end

  it("runs as many closures at once as may be, each key in order", function()
    local running, most, done, last, wrong = 0, 0, 0, {}, nil
    local consumer = start(keyed(300, 60), { max_in_flight = 20, handler = function(record, context)
      running = running + 1
      most = math.max(most, running)
      local n = tonumber(record.value)
      if (last[record.key] or 0) >= n then wrong = record.id end
      context:sleep(0.002)
      last[record.key] = n
      running, done = running - 1, done + 1
    end })
    wait_for(consumer, function() return done == 300 end)
    assert.is_nil(wrong)
    assert.equal(20, most)
    local report = assert(consumer:close())
    assert.equal(300, report.done)
    assert.equal(300, report.committed[1].offset)
  end)

  it("may have fewer or more of them while it runs", function()
    local running, most, enough = 0, 0, 4
    local consumer = start(keyed(400), { max_in_flight = 4, handler = function(_, context)
      running = running + 1
      most = math.max(most, running)
      context:sleep(0.005)
      running = running - 1
    end })
    wait_for(consumer, function() return most == enough end)
    assert(consumer:configure { max_in_flight = 30 })
    wait_for(consumer, function() return most == 30 end)
    assert(consumer:close { mode = "now" })
  end)

  it("takes modules, routes and batches, sets up and tears down, with the very args", function()
    local seen, args = {}, { names = { "a" } }
    package.loaded["spec.local.module"] = {
      setup = function(given) seen.setup = given end,
      handle = function(record, context)
        seen[record.value] = context.args
        assert(context.worker == 0)
      end,
      teardown = function() seen.teardown = true end,
    }
    local other = helper.topic(1)
    fixture.produce(other, { { key = "a", value = "1" }, { key = "b", value = "2" },
      { key = "c", value = "3" } })
    local sizes, kept = 0, nil
    local topic = helper.topic(1)
    fixture.produce(topic, { { key = "x", value = "one" } })
    local consumer = fixture.consumer { topics = { topic, other }, workers = 0, handler_args = args,
      handler = {
        [topic] = "spec.local.module",
        [other] = { batch = { size = 3, linger = 5 }, handler = function(batch, context)
          sizes = math.max(sizes, #batch)
          context:sleep(0.01)
          kept = batch
          if batch[1].attempt == 1 then batch:fail(1, "first") end
        end },
      }, retry = { attempts = 2, delay = 0.01 } }
    assert(consumer:start())
    wait_for(consumer, function() return consumer:stats().done == 4 end)
    assert.equal(args, seen.setup)
    assert.equal(args, seen.one)
    assert.equal(3, sizes)
    fails("batch used after its handler returned", kept.done, kept, 1)
    fails("record used after its handler returned", function() return kept[1].key end)
    assert.is_nil(seen.teardown)
    local report = assert(consumer:close())
    assert.equal(1, report.failed)
    assert.is_true(seen.teardown)
  end)

  it("says what is wrong with a handler before the group is joined", function()
    for handler, message in pairs {
      ["spec.no.module"] = "module 'spec.no.module' not found",
      ["spec.local.broken"] = "error in setup: .*not today",
      ["spec.local.batch"] = "has a 'handle_batch' and no 'handle', which is called without option",
      ["spec.local.nothing"] = "returns nothing, or a boolean; a function, or a table with 'handle'",
      ["spec.local.no_setup"] = "setup failed: no key$",
      ["spec.local.false_setup"] = "setup failed: it returned false$",
    } do
      package.loaded["spec.local.nothing"] = true
      package.loaded["spec.local.no_setup"] = { handle = print,
        setup = function() return nil, "no key" end }
      package.loaded["spec.local.false_setup"] = { handle = print,
        setup = function() return false end }
      package.loaded["spec.local.broken"] = { setup = function() error "not today" end,
        handle = print }
      package.loaded["spec.local.batch"] = { handle_batch = print }
      local consumer = fixture.consumer { topics = { helper.topic(1) }, workers = 0,
        handler = handler }
      local ok, reason, code = consumer:start()
      assert.is_nil(ok)
      assert.equal("HANDLER", code)
      assert.matches("^handler '" .. handler:gsub("%.", "%%.") .. "': .*" .. message, reason)
    end
  end)

  it("has retry functions that are closures, and takes another", function()
    local asked, again = {}, {}
    local consumer = start({ { key = "a", value = "v" } }, {
      retry = function(attempt, reason, record)
        asked[#asked + 1] = { attempt, reason, record.key }
        return 0.01
      end,
      handler = function() return false, "no" end })
    wait_for(consumer, function() return #asked == 2 end)
    assert.same({ { 1, "no", "a" }, { 2, "no", "a" } }, asked)
    assert(consumer:configure { retry = function(attempt) again[#again + 1] = attempt end })
    wait_for(consumer, function() return consumer:stats().parked == 1 end)
    assert.equal(1, #again)
    assert(consumer:close())
  end)

  it("gives records and contexts that end with their handler", function()
    local kept, seen
    local consumer = start({ { key = "a", value = "v" } }, { handler = function(record, context)
      kept = { record, context }
      context:sleep(0.01)
      seen = { record.value, record.value, record:copy().key }
    end })
    wait_for(consumer, function() return consumer:stats().done == 1 end)
    assert.same({ "v", "v", "a" }, seen)
    fails("record used after its handler returned", function() return kept[1].key end)
    fails("context:produce%(%) after its handler returned", kept[2].produce, kept[2], {})
    fails("context:sleep%(%) after its handler returned", kept[2].sleep, kept[2], 1)
    assert.matches("its handler has returned", tostring(kept[1]))
    assert(consumer:close())
  end)

  it("sends what a handler that is done has produced, of a failed attempt nothing", function()
    local out = helper.topic(1)
    local consumer = start(keyed(3), { producer = {}, handler = function(record, context)
      context:produce { topic = out, key = record.key, value = tostring(record.attempt) }
      context:sleep(0.01)
      if record.attempt == 1 then error "once more" end
    end })
    wait_for(consumer, function() return consumer:stats().done == 3 end)
    local report = assert(consumer:close())
    assert.equal(3, report.failed)
    assert.equal(3, report.outputs_acknowledged)
  end)

  describe("defer", function()
    it("ends a record when done is called, once, with what a handler may return", function()
      local dones, kept = {}, {}
      local consumer = start(keyed(4), { handler = function(record, context)
        dones[record.value] = dones[record.value] or context:defer()
        kept[record.value] = record
        if record.attempt > 1 then dones["again " .. record.value] = context:defer() end
      end })
      wait_for(consumer, function() return kept["4"] end)
      assert.equal(0, consumer:stats().done)
      assert.equal("1", kept["1"].value) -- valid until then
      assert.is_true(dones["1"]())
      fails("record used after its handler returned", function() return kept["1"].value end)
      local ok, message, code = dones["1"]()
      assert.same({ nil, "the record has ended already", "ENDED" }, { ok, message, code })
      assert.is_true(dones["2"](strand.skip "not this one"))
      assert.is_true(dones["3"](false, "later"))
      wait_for(consumer, function() return dones["again 3"] end)
      assert.is_true(dones["again 3"]())
      wait_for(consumer, function() return consumer:stats().done == 2 end)
      assert.equal("later", find "record_failed".reason)
      local left = consumer:blockers(10)
      wait_for(consumer, function()
        left = consumer:blockers(10)
        return #left == 1
      end)
      assert.equal("running", left[1].state)
      local report = consumer:close { timeout = 1 }
      report = report or consumer:report()
      assert.equal(1, report.skipped)
      assert.is_true(report.detached)
      assert.same({ nil, "the consumer is closed", "CLOSED" }, { dones["4"]() })
    end)

    it("of a handler that fails comes to nothing; done may come before it returns", function()
      local dones = {}
      local consumer = start(keyed(2), { handler = function(record, context)
        local done = context:defer()
        fails("defer%(%) was called before", context.defer, context)
        if record.value == "1" then
          assert(done())
          return false, "too late"
        end
        dones[#dones + 1] = done
        if record.attempt == 1 then error "no" end
        done()
      end })
      wait_for(consumer, function() return consumer:stats().done == 2 end)
      assert.equal(1, consumer:stats().failed)
      assert.is_nil((dones[1]()))
      assert(consumer:close())
    end)

    it("leaves the rest of a key for when done was called", function()
      local order, done = {}, nil
      local consumer = start(keyed(3, 1), { handler = function(record, context)
        order[#order + 1] = record.value
        if record.value == "1" then done = context:defer() end
      end })
      wait_for(consumer, function() return done end)
      for _ = 1, 5 do assert(consumer:step(0.02)) end
      assert.same({ "1" }, order)
      assert.is_true(done())
      wait_for(consumer, function() return consumer:stats().done == 3 end)
      assert.same({ "1", "2", "3" }, order)
      assert(consumer:close())
    end)
  end)

  describe("its close", function()
    it("waits for handlers that sleep, and for no others", function()
      local done = 0
      local consumer = start(keyed(50), { max_in_flight = 10, max_ready = 10,
        handler = function(_, context)
          context:sleep(0.3)
          done = done + 1
        end })
      wait_for(consumer, function() return consumer:stats().in_flight >= 10 end)
      local report = assert(consumer:close())
      assert.equal(done, report.done)
      assert.is_true(done >= 10 and done < 50)
      assert.is_false(report.detached)
    end)

    it("lets nothing start from the call on, whatever its owners have heard", function()
      local started, held = 0, true
      local consumer = start(keyed(200), { max_in_flight = 1, handler = function(_, context)
        started = started + 1
        while held do context:sleep(0.001) end
      end })
      wait_for(consumer, function() return started == 1 and consumer:stats().ready > 50 end)
      held = false
      consumer:stop()
      assert(consumer:configure { max_in_flight = 20 })
      local report = assert(consumer:close())
      assert.same({ 1, 1 }, { started, report.done })
    end)

    it("gives up a handler that sleeps on, whose record is worth nothing then", function()
      local kept
      local consumer = start(keyed(1), { handler = function(record, context)
        kept = { record, context }
        context:sleep(3600)
      end })
      wait_for(consumer, function() return kept end)
      local report, message, code, last = consumer:close { timeout = 0.5 }
      assert.is_nil(report)
      assert.equal("TIMED_OUT", code)
      assert.matches("1 record unfinished", message)
      assert.equal(1, last.unfinished_total)
      assert.is_true(last.detached)
      fails("record used after its handler returned", function() return kept[1].key end)
      fails("after its handler returned", kept[2].stop_consumer, kept[2])
    end)

    it("cannot be waited for by a handler, nor can a commit", function()
      local got = {}
      local consumer
      finally(function() helper.mock():rtt(nil, 0) end)
      consumer = start(keyed(2, 1), { handler = function(record, context)
        if record.value == "1" then return end -- to be committed
        assert(helper.mock():rtt(nil, 0.2)) -- so that no answer is there at once
        got.close = { pcall(consumer.close, consumer) }
        got.step = { pcall(consumer.step, consumer, 0) }
        got.run = { pcall(consumer.run, consumer) }
        got.commit = { consumer:commit() }
        assert(helper.mock():rtt(nil, 0))
        context:stop_consumer()
      end })
      local report = assert(consumer:run())
      assert.equal(2, report.done)
      assert.matches("consumer:close%(%) in a handler: use context:stop_consumer%(%)", got.close[2])
      assert.matches("consumer:step%(%) in a handler", got.step[2])
      assert.matches("consumer:run%(%) in a handler", got.run[2])
      assert.equal("CANNOT_WAIT", got.commit[3])
    end)

    it("comes with its collection, whatever its handlers do", function()
      local kept, topic = nil, helper.topic(1)
      fixture.produce(topic, keyed(3))
      local consumer = assert(strand.consumer { -- not the fixture's, which would keep it
        kafka = { ["bootstrap.servers"] = helper.bootstrap(), ["group.id"] = helper.name "group" },
        topics = { topic }, workers = 0, handler = function(record, context)
          kept = record
          context:sleep(3600)
        end })
      assert(consumer:start())
      wait_for(consumer, function() return kept end)
      consumer = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      fails("record used after its handler returned", function() return kept.key end)
    end)
  end)

  describe("a handler", function()
    it("has a context wherever it can see one", function()
      local seen, bare = {}, 0
      local function note(_, context) seen[#seen + 1] = context and context.worker or "none" end
      for _, handler in ipairs { note, function(...) note(...) end, function() bare = bare + 1 end } do
        local consumer = start(keyed(1), { handler = handler })
        wait_for(consumer, function() return consumer:stats().done == 1 end)
        assert(consumer:close())
      end
      assert.same({ 0, 0 }, seen)
      assert.equal(1, bare)
    end)

    it("that sleeps for an hour keeps its own key, and nobody else", function()
      local others = 0
      local consumer = start(keyed(200, 100), { max_in_flight = 8, handler = function(record, context)
        if record.key == "k7" then context:sleep(3600) end
        others = others + 1
      end })
      wait_for(consumer, function() return others == 198 end)
      wait_for(consumer, function()
        local left = consumer:blockers(5)
        return left[1] and left[1].key == "k7"
      end)
      consumer:close { mode = "now", timeout = 1 }
    end)

    it("that passes its deadline has failed, and keeps its key until it returns", function()
      local attempts, running, overlapped, may_return = 0, 0, false, false
      local consumer, topic = start(keyed(1), { slow_after = false,
        retry = { attempts = 3, delay = 0 }, handler = function(record, context)
          if not context:remaining() then return end
          attempts = record.attempt
          overlapped = overlapped or running > 0
          running = running + 1
          if record.attempt == 1 then
            assert(context:remaining() <= 0.1)
            repeat context:sleep(0.05) until may_return
          end
          running = running - 1
        end })
      wait_for(consumer, function() return consumer:stats().done == 1 end)
      assert(consumer:configure { deadline = 0.1 }) -- also one that comes later
      fixture.produce(topic, keyed(1))
      wait_for(consumer, function() return find "record_failed" end)
      assert.equal(1, running)
      assert.matches("deadline", find("record_failed").reason)
      may_return = true
      wait_for(consumer, function() return consumer:stats().done == 2 end)
      assert.equal(2, attempts)
      assert.is_false(overlapped)
      assert.is_nil(find "worker_lost")
      assert(consumer:close())
    end)

    it("that keeps the whole thread is told of", function()
      local now = fixture.now
      local consumer = start(keyed(500), { slow_after = 0.5, handler = function(record)
        if record.value ~= "1" then return end
        local over = now() + 2.5
        while now() < over do end
      end })
      wait_for(consumer, function() return consumer:stats().done == 500 end)
      assert.is_true(consumer:stats().longest_slice > 2)
      wait_for(consumer, function() return find "loop_blocked" end)
      assert.is_true(find("loop_blocked").seconds >= 1)
      wait_for(consumer, function() return find "slow_record" end)
      assert.matches("^no traceback: the handler had ended", find("slow_record").reason)
      assert(consumer:close())
    end)

    it("that is slow is told of with its traceback, until it has returned", function()
      local done
      local consumer = start(keyed(1), { slow_after = 0.05, handler = function(_, context)
        local function dawdle()
          repeat context:sleep(0.01) until find "slow_record"
        end
        dawdle()
        done = context:defer()
      end })
      local function last()
        for i = #events, 1, -1 do
          if events[i].type == "slow_record" then return events[i].reason end
        end
      end
      wait_for(consumer, function() return find "slow_record" end)
      assert.matches("^stack traceback:.*dawdle", find("slow_record").reason)
      wait_for(consumer, function() return done and last():find "^no traceback" end)
      assert.matches("^no traceback: the handler has returned", last())
      assert.is_true(done())
      assert(consumer:close())
    end)

    it("cannot sleep where Lua cannot yield, nor in a coroutine of its own, nor for no time", function()
      local consumer = start(keyed(4), { retry = { attempts = 1 }, handler = function(record, context)
        if record.value == "1" then
          table.sort({ 3, 2, 1 }, function(a, b)
            context:sleep(0)
            return a < b
          end)
        elseif record.value == "2" then
          coroutine.wrap(function() context:sleep(0.01) end)()
        elseif record.value == "3" then
          context:sleep(0 / 0)
        else
          context.sleep(record, 1)
        end
      end })
      local reasons, told = {}, 0
      wait_for(consumer, function() -- an event and what stats() says come in no order
        for i = told + 1, #events do
          local event = events[i]
          if event.type == "record_failed" then reasons[event.key] = event.reason end
        end
        told = #events
        return reasons.k0 and reasons.k1 and reasons.k2 and reasons.k3
          and consumer:stats().failed == 4
      end)
      assert.matches("^the handler cannot yield there: ", reasons.k1)
      assert.matches("context:sleep%(%) in a coroutine of the handler's own", reasons.k2)
      assert.matches("seconds expected, from 0 to 86400", reasons.k3)
      assert.matches("sleep is a method: call it with a colon", reasons.k0)
      assert(consumer:close())
    end)

    it("that closes, or resumes, the coroutine of another harms that one at most", function()
      local waits, done = {}, 0
      local consumer = start(keyed(20), { max_in_flight = 20, handler = function(record, context)
        if record.attempt > 1 then return end
        if record.value == "1" or record.value == "2" then
          waits[record.value] = coroutine.running()
          context:sleep(0.1)
        elseif record.value == "3" then
          while not (waits["1"] and waits["2"]) do context:sleep(0.001) end
          if coroutine.close then coroutine.close(waits["1"]) end
          coroutine.resume(waits["2"])
        end
        done = done + 1
      end })
      wait_for(consumer, function() return consumer:stats().done == 20 end)
      assert.equal(coroutine.close and 19 or 20, done)
      local event = find "record_failed"
      assert.equal(coroutine.close and "k1" or nil, event and event.key)
      if event then assert.matches("^the handler's coroutine was ended: ", event.reason) end
      assert(consumer:close())
    end)

    it("that yields barely harms nobody, also when its coroutine is resumed later", function()
      local threads, done = {}, 0
      local consumer = start(keyed(40), { exhausted = "skip", handler = function(record)
        if tonumber(record.value) % 2 == 0 then
          threads[#threads + 1] = coroutine.running()
          coroutine.yield("for", "nobody")
        end
        done = done + 1
      end })
      wait_for(consumer, function() return consumer:stats().skipped == 20 end)
      wait_for(consumer, function() return consumer:stats().done == 20 end)
      for _, thread in ipairs(threads) do coroutine.resume(thread) end
      assert.equal(40, done) -- they went on, for nobody
      for _ = 1, 3 do consumer:step(0.01) end
      assert.equal(20, consumer:stats().done)
      assert(consumer:close())
    end)
  end)

  -- A loop of the spec's own, which can forget a coroutine.
  local function new_loop()
    local loop = { ready = {}, forget = false }
    loop.adapter = {
      spawn = function(f) loop.ready[#loop.ready + 1] = coroutine.create(f) end,
      sleep = function(seconds, waiter)
        if loop.forget and seconds then
          loop.forget = false
          return coroutine.yield "forgotten"
        end
        if waiter then waiter.thread = coroutine.running()
        else loop.ready[#loop.ready + 1] = coroutine.running() end
        coroutine.yield()
      end,
      wake = function(waiter)
        loop.ready[#loop.ready + 1] = waiter.thread
        waiter.thread = nil
      end,
    }
    function loop.run()
      local ready = loop.ready
      loop.ready = {}
      for _, thread in ipairs(ready) do assert(coroutine.resume(thread)) end
    end
    return loop
  end

  local function resumes_directly()
    local thread = coroutine.create(function() return pcall(coroutine.yield) end)
    coroutine.resume(thread)
    return coroutine.status(thread) == "suspended"
  end

  if resumes_directly() then
    it("under a loop has bodies that the loop resumes, and reuses them", function()
      local loop, threads, done, most, running = new_loop(), {}, 0, 0, 0
      local consumer = start(keyed(500), { max_in_flight = 20, handler = function(_, context)
        threads[coroutine.running()] = true
        running = running + 1
        most = math.max(most, running)
        context:sleep(0.01)
        running, done = running - 1, done + 1
      end }, loop.adapter)
      wait_for(consumer, function()
        loop.run()
        return done == 500
      end)
      local count = 0
      for _ in pairs(threads) do count = count + 1 end
      assert.is_true(count <= 20 and most <= 20 and most > 1)
      wait_for(consumer, function() return consumer:stats().done == 500 end)
      consumer.adapter = nil
      assert(consumer:close())
    end)

    it("finds a coroutine that its loop has dropped: the record has failed", function()
      local loop, done = new_loop(), 0
      local consumer = start(keyed(5), { handler = function(_, context)
        context:sleep(0.01)
        done = done + 1
      end }, loop.adapter)
      loop.forget = true
      wait_for(consumer, function()
        loop.run()
        collectgarbage()
        return consumer:stats().done == 5
      end)
      assert.equal(1, consumer:stats().failed)
      assert.equal("handler was dropped", find("record_failed").reason)
      consumer.adapter = nil
      assert(consumer:close())
    end)
  end
end)
