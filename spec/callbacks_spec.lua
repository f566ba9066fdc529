-- The Lua layer alone, above a core that is played: the run loop, signals,
-- callbacks, closing. Time is simulated, so nothing here waits.
local fake = require "spec.support.fake_core"

local unpack = table.unpack or unpack

describe("without the C side", function()
  local strand, real_core, messages

  setup(function()
    real_core = package.loaded["strand.core"]
    package.loaded["strand.core"] = fake
    for name in pairs(package.loaded) do
      if name == "strand" or name:find "^strand%.%l+$" and name ~= "strand.core" then
        package.loaded[name] = nil
      end
    end
    strand = require "strand"
  end)

  teardown(function() package.loaded["strand.core"] = real_core end)

  before_each(function()
    fake.reset()
    messages = {}
  end)

  local function log(_, facility, message)
    messages[#messages + 1] = facility .. ": " .. message
  end

  local function open(changes)
    local given = {
      kafka = { ["bootstrap.servers"] = "b", ["group.id"] = "g", ["sasl.password"] = "hunter2" },
      topics = { "orders" }, handler = "h", log = log,
    }
    for name, value in pairs(changes or {}) do given[name] = value end
    local consumer = assert(strand.consumer(given))
    return consumer, fake.newest()
  end

  local function closes(core)
    local modes = {}
    for _, call in ipairs(core.calls) do
      if call[1] == "close_begin" then modes[#modes + 1] = call[2] end
    end
    return modes
  end

  local function raises(expected, action, ...)
    local ok, message = pcall(action, ...)
    assert.is_false(ok)
    assert.matches(expected, message, 1, true)
  end

  describe("run", function()
    it("ends with a report after a signal, and gives the signals back", function()
      local consumer, core = open()
      fake.at(3, fake.signal)
      assert.same({ done = 1 }, consumer:run())
      assert.same({ "finish" }, closes(core))
      assert.equal(4, fake.now())
      assert.is_false(fake.signals_are_taken())
    end)

    it("does not wait any more after a second signal", function()
      local consumer, core = open()
      core.close_takes = 100
      fake.at(3, fake.signal)
      fake.at(5, fake.signal)
      assert.same({ done = 1 }, consumer:run())
      assert.same({ "finish", "now" }, closes(core))
      assert.equal(5, fake.now())
    end)

    it("obeys signals while a callback closes", function()
      local consumer, core = open()
      core.close_takes = 100
      fake.at(3, fake.signal)
      fake.at(5, fake.signal)
      assert.same({ done = 1 }, consumer:run { tick = function(self) self:close() end })
      assert.same({ "finish", "now" }, closes(core))
      assert.equal(5, fake.now())
    end)

    it("begins one close for several stops", function()
      local consumer, core = open()
      fake.at(2, fake.signal)
      consumer:run { tick = function(self)
        self:stop()
        self:stop()
      end }
      assert.same({ "finish" }, closes(core))
    end)

    it("calls tick every so often, and stop() in it ends it", function()
      local times = {}
      local consumer = open()
      local report = consumer:run { every = 5, tick = function(self)
        times[#times + 1] = fake.now()
        if #times == 3 then self:stop() end
      end }
      assert.same({ done = 1 }, report)
      assert.same({ 5, 10, 15 }, times)
    end)

    it("closes in tick as well, and ends with the same report", function()
      local consumer = open()
      local inner
      local report = consumer:run { tick = function(self) inner = self:close { mode = "now" } end }
      assert.equal(inner, report)
    end)

    it("lets an error in tick pass through, and can go on", function()
      local consumer, core = open()
      raises("no tick today", consumer.run, consumer, { tick = function() error "no tick today" end })
      assert.is_false(fake.signals_are_taken())
      assert.equal("running", core.status)
      fake.at(9, fake.signal)
      assert.is_table(consumer:run())
    end)

    it("raises when a callback yields, and gives the signals back", function()
      local consumer = open()
      raises("a callback yielded out of run()", coroutine.wrap(function()
        consumer:run { tick = function() coroutine.yield() end }
      end))
      assert.is_false(fake.signals_are_taken())
      fake.at(9, fake.signal)
      assert.is_table(consumer:run())
    end)

    it("ends with a code when a handler stopped it", function()
      local consumer, core = open()
      fake.at(1, function() core.end_asked = { "finish", "STOPPED_BY_HANDLER", "enough" } end)
      local results = { consumer:run() }
      assert.is_nil(results[1])
      assert.same({ "enough", "STOPPED_BY_HANDLER", { done = 1 } }, { unpack(results, 2, 4) })
    end)

    it("ends at once when the error is fatal", function()
      local consumer, core = open()
      fake.at(1, function() core.end_asked = { "now", "FENCED", "fenced by another" } end)
      local _, message, code, report = consumer:run()
      assert.same({ "fenced by another", "FENCED", { done = 1 } }, { message, code, report })
      assert.same({ "now" }, closes(core))
    end)

    it("ends with a report when a handler only wanted that", function()
      local consumer, core = open()
      fake.at(1, function() core.end_asked = { "finish", "STOPPED" } end)
      assert.same({ done = 1 }, consumer:run())
    end)

    it("says what failed in a close", function()
      local consumer, core = open()
      core.close_failure = "the last commit was not answered"
      fake.at(1, fake.signal)
      local _, message, code, report = consumer:run()
      assert.same({ "the last commit was not answered", "TIMED_OUT", { done = 1 } },
        { message, code, report })
    end)

    it("gives back what start could not do, and closes", function()
      local consumer, core = open()
      core.start_failure = "module 'h' not found"
      local _, message, code, report = consumer:run()
      assert.same({ "module 'h' not found", "HANDLER", { done = 1 } }, { message, code, report })
      assert.same({ "now" }, closes(core))
      raises("attempt to use a closed consumer", consumer.run, consumer)
    end)

    it("inside a run raises", function()
      local consumer, other = open(), (open())
      raises("another run() is active in this process", consumer.run, consumer,
        { tick = function() other:run() end })
    end)

    it("serves several, each until its own end", function()
      local a, a_core = open()
      local b, b_core = open()
      fake.at(1, function() a_core.end_asked = { "finish", "STOPPED" } end)
      fake.at(5, function() b_core.end_asked = { "finish", "STOPPED" } end)
      assert.same({ { done = 1 }, { done = 1 } }, strand.run(a, b))
      assert.equal(6, fake.now())
    end)

    it("of several ends them all when one fails", function()
      local a, a_core = open()
      local b, b_core = open()
      fake.at(1, function() a_core.end_asked = { "now", "FENCED", "fenced" } end)
      local reports, message, code, last = strand.run(b, a)
      assert.is_nil(reports)
      assert.same({ "fenced", "FENCED", 2 }, { message, code, #last })
      assert.same({ "finish" }, closes(b_core))
    end)

    it("of several refuses what is no consumer", function()
      raises("strand.run: argument 2: consumer expected, got a table", strand.run, (open()), {},
        (open()))
      raises("unknown option 'evry'", strand.run, (open()), { evry = 1 })
      raises("strand.run: argument 1: consumer expected, got a table", strand.run, {})
      raises("strand.run: argument 1: consumer expected, got nil", strand.run, nil, (open()))
      raises("one consumer or more expected", strand.run)
    end)
  end)

  describe("start", function()
    it("ends with a stop that comes while handlers load", function()
      local consumer, core = open()
      core.loads = true
      fake.at(1, function() consumer:stop() end)
      assert.is_true(consumer:start())
      assert.equal(2, fake.now()) -- the close has ended
      assert.same({ "finish" }, closes(core))
    end)

    it("waits for the group only with start_timeout", function()
      local consumer = open()
      assert.is_true(consumer:start())
      assert.equal(0, fake.now())
    end)

    it("waits for the group with start_timeout", function()
      local consumer, core = open { start_timeout = 10 }
      fake.at(4, function() core.is_joined, core.answered = true, true end)
      assert.is_true(consumer:start())
      assert.equal(4, fake.now())
    end)

    it("says why the group was not joined, and closes", function()
      local consumer, core = open { start_timeout = 10 }
      local ok, message, code = consumer:start()
      assert.is_nil(ok)
      assert.equal("TIMED_OUT", code)
      assert.matches("within 10 s (start_timeout): no broker answers", message, 1, true)
      assert.equal("closed", core.status)
    end)

    it("answers requests for a token while it waits", function()
      local consumer, core = open { start_timeout = 10,
        oauth_token = function() return "t", 9e9, "me" end }
      fake.at(1, function() core.needs_token = true end)
      fake.at(2, function() core.is_joined, core.answered = true, true end)
      assert.is_true(consumer:start())
      assert.same({ { "oauth_set", "t", 9e9, "me" } }, core.calls)
    end)
  end)

  describe("a callback", function()
    it("gets each event, in order", function()
      local seen = {}
      local consumer, core = open { on_event = function(event) seen[#seen + 1] = event.type end }
      consumer:start()
      core.events = { { type = "assigned" }, { type = "restored" } }
      assert.equal(2, consumer:step(0))
      assert.same({ "assigned", "restored" }, seen)
    end)

    it("that raises is told to the log, and the next one is called", function()
      local seen = 0
      local consumer, core = open { on_event = function()
        seen = seen + 1
        error "no event today"
      end }
      consumer:start()
      core.events = { { type = "assigned" }, { type = "restored" } }
      consumer:step(0)
      assert.equal(2, seen)
      assert.matches("on_event: error in on_event: .*no event today", messages[1])
    end)

    it("may raise what cannot be made text", function()
      local seen = 0
      local consumer, core = open { on_event = function()
        seen = seen + 1
        error(setmetatable({}, { __tostring = function() error "no text" end }))
      end }
      consumer:start()
      core.events = { { type = "assigned" }, { type = "restored" } }
      consumer:step(0)
      assert.equal(2, seen)
      assert.matches("on_event: error in on_event: a table", messages[1])
    end)

    -- As a cooperative scheduler calls it, that drops the coroutine.
    local function abandoned(action, ...)
      local thread = coroutine.create(action)
      local ok, problem = coroutine.resume(thread, ...)
      assert.is_true(ok, problem)
      assert.equal("dead", coroutine.status(thread))
    end

    it("that yields has failed, and the next one is called", function()
      local seen = {}
      local consumer, core = open { on_event = function(event)
        seen[#seen + 1] = event.type
        coroutine.yield()
      end }
      consumer:start()
      core.events = { { type = "assigned" }, { type = "restored" } }
      abandoned(consumer.step, consumer, 0)
      assert.same({ "assigned", "restored" }, seen)
      assert.matches("on_event: error in on_event: .*attempt to yield", messages[1])
      assert.equal(2, #messages)
    end)

    it("for lines that yields has failed, and the next one is called", function()
      local seen, shown, stderr = {}, {}, io.stderr
      local consumer, core = open { log = function(_, _, message)
        seen[#seen + 1] = message
        coroutine.yield()
      end }
      consumer:start()
      core.logs = { { 4, "FAIL", "one" }, { 4, "FAIL", "two" } }
      rawset(io, "stderr", { write = function(_, line) shown[#shown + 1] = line end })
      local ok, problem = pcall(abandoned, consumer.step, consumer, 0)
      rawset(io, "stderr", stderr)
      assert.is_true(ok, problem)
      assert.same({ "one", "two" }, seen)
      local line = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ strand " -- as C begins its own
      assert.matches(line .. "error: log: error in log: .*attempt to yield", shown[1])
      assert.matches(line .. "warning: FAIL: one\n$", shown[2])
    end)

    it("for tokens that yields has failed", function()
      local consumer, core = open { oauth_token = function() coroutine.yield() end }
      consumer:start()
      core.needs_token = true
      abandoned(consumer.step, consumer, 0)
      assert.equal("oauth_fail", core.calls[1][1])
      assert.matches("error in oauth_token: .*attempt to yield", core.calls[1][2])
      assert.equal(1, #core.calls)
    end)

    it("for tokens that waits is not woken by the request it answers", function()
      local turns = 0
      local consumer, core
      consumer, core = open { oauth_token = function()
        fake.at(1, function() core.commit_answer, core.answered = true, true end)
        assert(consumer:commit())
        return "token", 1000
      end }
      local commit_done = core.commit_done
      function core:commit_done()
        turns = turns + 1
        if turns > 10 then error "it turns as fast as it can" end
        return commit_done(self)
      end
      consumer:start()
      core.needs_token = true
      consumer:step(0)
      assert.same({ "oauth_set", "token", 1000, "" }, core.calls[2])
      assert.equal(2, turns)
      core.needs_token = true
      assert.is_true(core:is_readable())
    end)

    it("may raise what yields when it is made text", function()
      local consumer, core = open { on_event = function()
        error(setmetatable({}, { __tostring = function() coroutine.yield() end }))
      end }
      consumer:start()
      core.events = { { type = "assigned" } }
      abandoned(consumer.step, consumer, 0)
      assert.matches("on_event: error in on_event: a table", messages[1])
    end)

    -- The core's rings are bounded: what is not taken waits there.
    it("that waits leaves in the core what is too much to keep, and that does not wake it", function()
      local seen, left, consumer, core = 0, nil, nil, nil
      consumer, core = open { on_event = function()
        seen = seen + 1
        if seen > 1 then return end
        fake.at(1, function()
          for i = 1, 3000 do core.events[i] = { type = "parked" } end
        end)
        fake.at(2, function() core.commit_answer, core.answered = true, true end)
        assert.is_true(consumer:commit())
        left = #core.events
      end }
      consumer:start()
      core.events = { { type = "assigned" } }
      consumer:step(0)
      assert.equal(2000, left)
      for _ = 1, 5 do consumer:step(0) end
      assert.equal(3001, seen)
    end)

    it("that closes gets also what was too much to keep", function()
      local seen = 0
      local consumer, core
      consumer, core = open { on_event = function()
        seen = seen + 1
        if seen > 1 then return end
        fake.at(0, function()
          for i = 1, 3000 do core.events[i] = { type = "parked" } end
        end)
        consumer:close()
      end }
      consumer:start()
      core.events = { { type = "assigned" } }
      consumer:step(0)
      assert.equal(3001, seen)
    end)

    it("that closes gets what came last, too", function()
      local seen = {}
      local consumer, core
      consumer, core = open { on_event = function(event)
        seen[#seen + 1] = event.type
        if event.type ~= "assigned" then return end
        fake.at(0, function() core.events = { { type = "revoked" } } end)
        consumer:close()
      end }
      consumer:start()
      core.events = { { type = "assigned" } }
      consumer:step(0)
      assert.same({ "assigned", "revoked" }, seen)
    end)

    it("may wait, and what comes meanwhile comes after it", function()
      local order = {}
      local consumer, core
      consumer, core = open { on_event = function(event)
        order[#order + 1] = "begin " .. event.type
        if event.type == "assigned" then
          fake.at(1, function() core.events = { { type = "restored" } } end)
          fake.at(2, function() core.commit_answer, core.answered = true, true end)
          assert.is_true(consumer:commit())
        end
        order[#order + 1] = "end " .. event.type
      end }
      consumer:start()
      core.events = { { type = "assigned" } }
      consumer:step(0)
      assert.is_true(core:is_readable())
      consumer:step() -- it was kept: no wait
      assert.is_falsy(core:is_readable())
      assert.same({ "begin assigned", "end assigned", "begin restored", "end restored" }, order)
    end)

    it("is called after one whose error could not be told to anybody", function()
      local seen, stderr = {}, io.stderr
      local consumer, core = open { log = function() error "no log today" end,
        on_event = function(event)
          seen[#seen + 1] = event.type
          error "no event today"
        end }
      consumer:start()
      core.events = { { type = "assigned" }, { type = "restored" } }
      rawset(io, "stderr", { write = function() error "stderr is closed" end })
      raises("stderr is closed", consumer.step, consumer, 0)
      assert.is_true(core:is_readable())
      raises("stderr is closed", consumer.step, consumer) -- it was kept: no wait
      rawset(io, "stderr", stderr)
      assert.same({ "assigned", "restored" }, seen)
    end)

    it("for tokens may wait, and is asked once for each request", function()
      local asked = 0
      local consumer, core
      consumer, core = open { oauth_token = function()
        asked = asked + 1
        consumer:step(0)
        return "t", 9e9, "me"
      end }
      consumer:start()
      core.needs_token = true
      consumer:step(0)
      consumer:step(0)
      assert.equal(1, asked)
    end)

    it("that makes events for ever does not keep step for ever", function()
      local consumer, core
      local count = 0
      consumer, core = open { on_event = function()
        count = count + 1
        core.events = { { type = "error" } }
      end }
      consumer:start()
      core.events = { { type = "error" } }
      consumer:step(0)
      assert.equal(1, count)
    end)

    for _, case in ipairs {
      { function() error "no luck" end, "error in oauth_token: .*no luck" },
      { function() return nil, "the token server is down" end, "^the token server is down$" },
      { function() return "" end, "returned no token" },
      { function() return "t" end, "no time of expiry" },
      { function() return "t", math.huge end, "no time of expiry" },
      { function() return "t", 1e13 end, "no time of expiry" },
      { function() return "t", -1 end, "no time of expiry" },
      { function() return "t", 1, 2 end, "a principal that is no string" },
      { function() return "t\0", 1 end, "with a zero byte" },
    } do
      it("for tokens that fails is told to librdkafka: " .. case[2], function()
        local consumer, core = open { oauth_token = case[1] }
        consumer:start()
        core.needs_token = true
        consumer:step(0)
        assert.equal("oauth_fail", core.calls[1][1])
        assert.matches(case[2], core.calls[1][2])
      end)
    end
  end)

  describe("a method", function()
    it("that waits says when there was no answer", function()
      local consumer, core = open()
      consumer:start()
      local ok, message, code = consumer:commit(3)
      assert.same({ "no answer within 3 s", "TIMED_OUT" }, { message, code })
      assert.is_nil(ok)
      assert.same({ { "commit_begin" }, { "drop" } }, core.calls)
    end)

    it("of a closed consumer raises, but close, report, stats, health, step", function()
      local consumer = open()
      local report = consumer:close()
      assert.equal(report, consumer:close())
      assert.equal(report, consumer:report())
      assert.is_table(consumer:stats())
      assert.same({ "CLOSED" }, { select(3, consumer:health()) })
      assert.same({ "CLOSED" }, { select(3, consumer:step()) })
      for _, name in ipairs { "commit", "pause", "resume", "run", "start", "stop", "fd",
        "assignment", "blockers", "configure", "seek" } do
        raises("attempt to use a closed consumer", consumer[name], consumer)
      end
    end)

    it("in another process only says so", function()
      local consumer, core = open()
      core.status = "forked"
      for _, name in ipairs { "run", "start", "stop", "commit", "close", "step", "stats", "fd" } do
        assert.same({ "FORKED" }, { select(3, consumer[name](consumer)) }, name)
      end
    end)

    it("called with a dot says so", function()
      raises("consumer:step() is a method: call it with a colon", open().step)
    end)

    it("does not hide the state of the object", function()
      assert.equal("strand.Consumer (new)", tostring((open())))
    end)

    it("configure keeps what follows the workers", function()
      local consumer, core = open { max_ready = 9 }
      assert.is_true(consumer:configure { workers = 3 })
      assert.same({ { "configure", { workers = 3, max_in_flight = 3 } } }, core.calls)
    end)

    it("step before start does not wait", function()
      assert.same({ "NOT_STARTED" }, { select(3, open():step()) })
    end)
  end)

  it("a property that librdkafka refuses raises, without its value", function()
    local consumer = fake.consumer
    fake.consumer = function() return nil, "no good: hunter2", "OPTION" end
    raises("callbacks_spec.lua", open)
    raises("no good: ***", open)
    fake.consumer = consumer
  end)

  describe("a producer", function()
    local function producer(changes)
      local given = { kafka = { ["bootstrap.servers"] = "b" }, log = log }
      for name, value in pairs(changes or {}) do given[name] = value end
      local self = assert(strand.producer(given))
      return self, fake.newest()
    end

    it("hands a record over as C wants it", function()
      local self, core = producer()
      assert.is_true(self:send { topic = "t", key = "k", value = "v", headers = { a = "1" } })
      local call = core.calls[1]
      assert.same({ "send", "t", "k", "v", { "a", "1" } }, { unpack(call, 1, 5) })
      assert.is_nil(call[7])
      assert.is_nil(call[8])
      assert.is_false(call[9])
    end)

    it("hashes what partition_key says of the whole record", function()
      local self, core = producer { partition_key = function(record) return record.value:sub(1, 2) end }
      self:send { topic = "t", key = "k", value = "value" }
      assert.equal("va", core.calls[1][8])
    end)

    it("asks its own partitioner, once the number of partitions is known", function()
      local self, core = producer { partitioner = function(key, partitions, topic)
        assert.same({ "k", 11, "t" }, { key, partitions, topic })
        return 7
      end }
      assert.same({ "NO_METADATA" }, { select(3, self:send { topic = "t", key = "k" }) })
      core.count = 11
      self:send { topic = "t", key = "k" }
      assert.equal(7, core.calls[1][7])
      self:send { topic = "t", key = "k", partition = 3 }
      assert.equal(3, core.calls[2][7])
    end)

    it("raises what a partitioner must not give", function()
      for _, wrong in ipairs { -1, 11, 0.5, "1", 0 / 0 } do
        local self, core = producer { partitioner = function() return wrong end }
        core.count = 11
        raises("partitioner returned ", self.send, self, { topic = "t" })
      end
      raises("partition_key returned 7, string or nil expected", function()
        producer { partition_key = function() return 7 end }:send { topic = "t" }
      end)
    end)

    it("waits for the report of a record", function()
      local self, core = producer()
      fake.at(2, function() core.resolved = { { { offset = 5 }, core.calls[1][9] } } end)
      assert.same({ offset = 5 }, self:send_wait { topic = "t" })
      fake.reset()
      assert.equal("TIMED_OUT", (select(3, self:send_wait { topic = "t", timeout = 1 })))
      assert.equal(1, fake.now())
      assert.equal(0, core.hurried)
    end)

    it("flushes, and serves the reports meanwhile", function()
      local seen = {}
      local self, core = producer { on_delivery = function(report) seen[#seen + 1] = report end }
      self:send { topic = "t" }
      assert.same({ nil, "1 records not acknowledged within 1 s", "TIMED_OUT", 1 }, { self:flush(1) })
      core.in_the_way = "no broker"
      assert.equal("1 records not acknowledged within 1 s (no broker)", (select(2, self:flush(1))))
      fake.at(3, function() core.in_flight, core.deliveries = 0, { { offset = 1 } } end)
      assert.is_true(self:flush(10))
      assert.same({ { offset = 1 } }, seen)
    end)

    it("that a callback closes while it closes has one report", function()
      local self, core, inner
      self, core = producer { on_delivery = function() inner = self:close { timeout = 1 } end }
      self:send { topic = "t" }
      fake.at(1, function() core.in_flight, core.deliveries = 0, { { offset = 1 } } end)
      local outer = self:close { timeout = 10 }
      assert.is_table(inner)
      assert.equal(inner, outer)
      assert.equal(outer, self:close())
    end)

    it("closes once, with a report of what was given up", function()
      local self = producer()
      self:send { topic = "t" }
      local report = self:close { timeout = 1 }
      assert.same({ purged = 1 }, report)
      assert.equal(report, self:close())
      raises("attempt to use a closed producer", self.send, self, { topic = "t" })
    end)
  end)
end)
