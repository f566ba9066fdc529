-- Async workers (workers = n, loop = NAME): each has an event loop, and handlers that are its
-- coroutines. What becomes of records is in spec/outcomes_spec.lua; here is how many run at once and
-- where, and what happens when a handler, or a loop, does not go on. spec/handlers/waiting.lua has
-- the handlers.
local adapters = require "strand.loop.adapter"
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"

local unpack = table.unpack or unpack

local function wait_for(scene, condition)
  helper.eventually(40, condition, scene.consumer)
end

local function keyed(count, keys, value)
  local records = {}
  for i = 1, count do records[i] = { key = "k" .. i % keys, value = value } end
  return records
end

-- -> the most handlers at once: of all, and of each worker
local function most_of(journal)
  local now, most, all, of = 0, 0, {}, {}
  for _, line in ipairs(journal) do
    local step = line.what == "enter" and 1 or -1
    local worker = line.worker
    now, all[worker] = now + step, (all[worker] or 0) + step
    most, of[worker] = math.max(most, now), math.max(of[worker] or 0, all[worker])
  end
  return most, of
end

-- Of each key one handler at a time, in the order of offsets.
local function check_order(journal)
  local inside, last = {}, {}
  for _, line in ipairs(journal) do
    if line.what == "enter" then
      assert.is_nil(inside[line.key])
      assert.is_true(line.offset >= (last[line.key] or 0))
      inside[line.key], last[line.key] = true, line.offset
    else
      inside[line.key] = nil
    end
  end
end

local function lives(scene, what)
  local count = 0
  for line in (helper.read(scene.folder .. "/lives") or ""):gmatch "[^\n]+" do
    if line:match "^%l+" == what then count = count + 1 end
  end
  return count
end

local function says(scene, text)
  return function() return table.concat(scene.log, "\n"):find(text, 1, true) end
end

-- What a setup raises after a wait goes to whoever resumed it, where that is not strand.
local function raised_of(loop)
  if loop == "cqueues" or adapters.yields_across_pcall then return "error in setup: .*not today" end
  return "error in setup: it raised after it had waited"
end

local function first(scene, type)
  return scene.events[type] and scene.events[type][1]
end

local function describe_loop(loop)
  describe("workers with a loop of " .. loop, function()
    local scenes = {}

    local function scene(name, options, records)
      local this = { topic = helper.topic(options.partitions or 1), folder = fixture.folder(),
        events = {}, log = {} }
      options.partitions = nil
      fixture.produce(this.topic, records)
      scenes[name] = this
      options.topics, options.loop = { this.topic }, loop
      options.handler = options.handler or "spec.handlers.waiting"
      options.handler_args = options.handler_args or {}
      options.handler_args.folder, options.handler_args.loop = this.folder, loop
      options.retry = options.retry or { attempts = 3, delay = 0.01, factor = 1 }
      options.log = function(_, _, text) this.log[#this.log + 1] = text end
      options.on_event = function(event)
        this.events[event.type] = this.events[event.type] or {}
        table.insert(this.events[event.type], event)
      end
      if options.second then
        options.handler = { [this.topic] = "spec.handlers.waiting", ["^no_topic"] = "spec.handlers.waiting_too" }
        options.second = nil
      end
      this.consumer = fixture.consumer(options)
      return this.consumer
    end

    local function opens(name, options, records) return scene(name, options, records) end

    setup(function()
      fixture.open()
      local broken = {}
      for i = 1, 6 do broken[i] = { key = "b" .. i, value = i == 3 and "finish" or "gate go" } end
      fixture.start(
        opens("many", { workers = 3, max_in_flight = 40, partitions = 4 }, keyed(400, 90, "sleep 0.01")),
        opens("free places", { workers = 1, max_in_flight = 2 },
          { { key = "held", value = "gate go" }, unpack(keyed(40, 40, "context 0.001")) }),
        opens("strays", { workers = 2 }, keyed(6, 6, "stray")),
        opens("ended", { workers = 2, max_in_flight = 8 }, broken),
        opens("torn", { workers = 1, second = true, handler_args = { break_teardown = true } },
          keyed(1, 1)),
        opens("late", { workers = 2, deadline = 0.2 },
          { { key = "a", value = "gate go" }, { key = "a" }, { key = "b" } }),
        opens("lost", { workers = 1, max_in_flight = 4, deadline = 0.2 },
          { { key = "waits", value = "gate go" }, { key = "waits" }, { key = "blocks", value = "block free" },
            { key = "other" } }),
        opens("slow", { workers = 1, max_in_flight = 4, slow_after = 0.3 },
          { { key = "a", value = "gate go" } }),
        opens("blocked", { workers = 1, slow_after = 0.3 }, { { key = "a", value = "block go" } }),
        opens("kept", { workers = 2, max_in_flight = 8 },
          { { key = "a", value = "block go" }, unpack(keyed(60, 60, "context 0.001")) }),
        opens("changed", { workers = 2, max_in_flight = 4 }, keyed(40, 40, "gate go")),
        opens("closed", { workers = 2 }, keyed(20, 20, "gate go")),
        opens("unspawned", { workers = 1, handler_args = { break_spawn = loop == "cqueues" } },
          keyed(1, 1)), -- another record would call it again
        opens("quiet", { workers = 2, handler = function() end }, keyed(4, 4)),
        opens("detached", { workers = 1 }, { { key = "a", value = "gate never" } }))
    end)
    teardown(fixture.close)

    it("run as many handlers as each worker's share, and each key in order", function()
      local this = scenes.many
      wait_for(this, function() return this.consumer:stats().done == 400 end)
      local report = assert(this.consumer:close())
      assert.equal(400, report.done)
      local journal = fixture.journal(this.folder)
      local most, of = most_of(journal)
      check_order(journal)
      assert.is_true(most <= 39)
      local workers = 0
      for _, count in pairs(of) do
        workers = workers + 1
        assert.is_true(count > 1 and count <= 13)
      end
      assert.equal(3, workers)
    end)

    it("set each module up and tear it down in the loop, which goes on meanwhile", function()
      assert.equal(3, lives(scenes.many, "setup"))
      assert.equal(3, lives(scenes.many, "teardown"))
    end)

    it("fill a place that is free, whoever is held", function()
      local this = scenes["free places"]
      wait_for(this, function() return this.consumer:stats().done == 40 end)
      assert.equal("running", this.consumer:blockers()[1].state)
      fixture.release(this.folder, "go")
      wait_for(this, function() return this.consumer:stats().done == 41 end)
    end)

    -- A coroutine in cqueues, a callback in luv, which would end the process for that.
    it("go on when what a handler began raises", function()
      local this = scenes.strays
      wait_for(this, function() return this.consumer:stats().done == 6 end)
      wait_for(this, says(this, "nobody waits for this"))
      assert.is_nil(this.events.worker_lost)
    end)

    it("fail what a loop worked on that has ended, and make it anew", function()
      local this = scenes.ended
      wait_for(this, function() return this.events.worker_replaced end)
      fixture.release(this.folder, "go")
      wait_for(this, function() return this.consumer:stats().done == 6 end)
      assert.matches("worker %d: the event loop has ended: ", first(this, "worker_replaced").reason)
      assert.matches("the event loop has ended: ", first(this, "record_failed").reason)
      assert.equal(6, assert(this.consumer:close()).committed[1].offset)
      -- Its teardown waits, for which some loops are needed.
      assert.is_true(lives(this, "teardown") == 3
        or table.concat(this.log, "\n"):match "error in teardown" ~= nil)
    end)

    it("tear all modules down, though the loop ends amid one", function()
      local this = scenes.torn
      wait_for(this, function() return this.consumer:stats().done == 1 end)
      assert(this.consumer:close())
      assert.equal(2, lives(this, "torn"))
      assert.equal(0, lives(this, "teardown"))
      assert.matches("error in teardown: ", table.concat(this.log, "\n"))
    end)

    it("fail a record at its deadline, and hold its key until its handler returns", function()
      local this = scenes.late
      wait_for(this, function() return first(this, "record_failed") end)
      assert.matches("longer than its deadline of 0.2 s", first(this, "record_failed").reason)
      wait_for(this, function() return this.consumer:stats().done == 1 end)
      wait_for(this, fixture.pause(2)) -- the loop has turned: so it is not lost
      assert.equal(1, fixture.count(this.folder, "enter", 0))
      assert.equal(0, fixture.count(this.folder, "enter", 1))
      assert.equal(0, this.consumer:blockers()[1].offset)
      fixture.release(this.folder, "go")
      wait_for(this, function() return this.consumer:stats().done == 3 end)
      check_order(fixture.journal(this.folder))
      assert.is_nil(this.events.worker_lost)
    end)

    it("are lost when their loop does not turn, and a spare takes over", function()
      local this = scenes.lost
      wait_for(this, function() return first(this, "worker_lost") end)
      assert.matches("worker 1: its event loop has not turned for the deadline of 0.2 s; a spare takes over",
        first(this, "worker_lost").reason)
      wait_for(this, function() return this.consumer:stats().done == 1 end)
      local held = {}
      for _, blocker in ipairs(this.consumer:blockers()) do held[blocker.offset] = blocker.state end
      assert.same({ [0] = "running", [1] = "behind", [2] = "running" }, held)
      fixture.release(this.folder, "go")
      assert.equal(0, fixture.count(this.folder, "enter", 1))
      fixture.release(this.folder, "free")
      wait_for(this, function() return this.consumer:stats().done == 4 end)
      check_order(fixture.journal(this.folder))
      assert.equal(1, #this.events.worker_lost)
      assert.is_false(assert(this.consumer:close()).detached)
    end)

    it("say where a handler waits that takes its time, unless it keeps the loop", function()
      local slow, blocked = scenes.slow, scenes.blocked
      local function told(this, pattern) -- a loop that was late has none at first
        return function()
          for _, event in ipairs(this.events.slow_record or {}) do
            if event.reason:find(pattern) then return true end
          end
        end
      end
      wait_for(slow, told(slow, "spec/handlers/waiting.lua:%d+: in "))
      wait_for(blocked, told(blocked, "no traceback: the handler keeps the whole loop"))
      for _, event in ipairs(blocked.events.slow_record) do
        assert.not_matches("waiting.lua:%d+: in ", event.reason)
      end
      fixture.release(slow.folder, "go")
      fixture.release(blocked.folder, "go")
      wait_for(slow, function() return slow.consumer:stats().done == 1 end)
    end)

    it("leave nothing to a worker whose loop is kept, while another is free", function()
      local this = scenes.kept
      wait_for(this, function() return this.consumer:stats().done >= 57 end) -- its own wait with it
      fixture.release(this.folder, "go")
      wait_for(this, function() return this.consumer:stats().done == 61 end)
    end)

    it("follow what configure{} changes, also while all places are taken", function()
      local this = scenes.changed
      local function entered(count)
        return function() return fixture.count(this.folder, "enter") == count end
      end
      wait_for(this, entered(4))
      assert(this.consumer:configure { max_in_flight = 10 })
      wait_for(this, entered(10))
      assert(this.consumer:configure { workers = 3, max_in_flight = 30 })
      wait_for(this, entered(30))
      assert(this.consumer:configure { workers = 1, max_in_flight = 30 })
      fixture.release(this.folder, "go")
      wait_for(this, function() return this.consumer:stats().done == 40 end)
      wait_for(this, function() return lives(this, "teardown") == 2 end)
      local ok, message = pcall(this.consumer.configure, this.consumer, { workers = 31 })
      assert.is_false(ok)
      assert.matches("option 'workers': at most 'max_in_flight' %(30%) expected with 'loop', got 31", message)
    end)

    it("begin a coroutine again that the loop could not", function()
      local this = scenes.unspawned
      wait_for(this, function() return this.consumer:stats().done == 1 end)
      if loop == "cqueues" then wait_for(this, says(this, "no more coroutines")) end
    end)

    it("finish what runs at a close, and nothing else", function()
      local this = scenes.closed
      wait_for(this, function() return fixture.count(this.folder, "enter") == 20 end)
      local before = fixture.now()
      fixture.release(this.folder, "go")
      local report = assert(this.consumer:close { timeout = 20 })
      assert.equal(20, report.done)
      assert.is_false(report.detached)
      assert.equal(2, lives(this, "teardown"))
      assert.is_true(fixture.now() - before < 20)
    end)

    it("end without a word where nothing is left to tear down", function()
      local this = scenes.quiet
      wait_for(this, function() return this.consumer:stats().done == 4 end)
      assert.is_false(assert(this.consumer:close()).detached)
      assert.is_nil(this.events.worker_lost)
      assert.same({}, this.log)
    end)

    it("leave a handler behind that outlasts a close", function()
      local this = scenes.detached
      wait_for(this, function() return fixture.count(this.folder, "enter") == 1 end)
      local _, _, code, report = this.consumer:close { timeout = 1 }
      assert.equal("TIMED_OUT", code)
      assert.is_true(report.detached)
      assert.equal(1, report.unfinished_total)
      fixture.release(this.folder, "never")
      helper.eventually(20, function() return lives(this, "teardown") == 1 end)
    end)

    -- In a process of its own: nothing ends its thread.
    it("are left behind by a handler that never comes back, and so it is by the process's end", function()
      local child = helper.spawn([[
        local helper = require "spec.support.helper"
        local strand = require "strand"
        local mock = assert(strand.mock { brokers = 1, topics = { t = 1 } })
        local kafka = { ["bootstrap.servers"] = mock.bootstrap_servers }
        local producer = assert(strand.producer { kafka = kafka })
        for _, key in ipairs { "spins", "waits", "spins", "other" } do
          assert(producer:send { topic = "t", key = key, value = key })
        end
        assert(producer:flush(20))
        producer:close()
        kafka["group.id"] = "g"
        local consumer = assert(strand.consumer { kafka = kafka, topics = { "t" }, workers = 1,
          loop = arg[1], max_in_flight = 2, deadline = 1, slow_after = false, log = false,
          on_event = function(event)
            if event.type == "worker_lost" then print(event.reason) end
          end,
          handler = function(record, context)
            if record.key == "waits" then
              waits = true -- in this worker's state
              context:sleep(3600)
            end
            if record.key ~= "spins" then return end
            while not waits do context:sleep(0.01) end
            while true do end
          end })
        assert(consumer:start())
        helper.eventually(60, function() return consumer:stats().done == 1 end, consumer)
        local held = {}
        for i, blocker in ipairs(consumer:blockers()) do
          held[i] = ("%s %s"):format(blocker.key, blocker.state)
        end
        print(table.concat(held, ", "))
        local _, message, code, report = consumer:close { timeout = 1 }
        print(code, report.detached, message)
        mock:close()
      ]], loop)
      assert.equal(0, child:wait(120), child:errors())
      assert.matches("worker 1: its event loop has not turned for the deadline of 1 s; a spare takes over",
        child:output(), 1, true)
      assert.matches("spins running, waits running, spins behind\n", child:output(), 1, true)
      assert.matches("TIMED_OUT\ttrue\t3 records unfinished after 1 s\n", child:output(), 1, true)
    end)

    it("do not start where a module's setup ends the loop, or yields for nobody", function()
      local ended = loop == "cqueues" and "break_setup" or "yield_setup"
      for args, expected in pairs { [ended] = "the event loop has ended: ", raise_setup = raised_of(loop),
        yield_setup = loop == "cqueues" and "it yielded, and nobody was to resume it" or "ended" } do
        local ok, message, code = opens(args, { workers = 2, handler_args = { [args] = true } },
          {}):start()
        assert.is_nil(ok)
        assert.equal("HANDLER", code)
        assert.matches(expected, message)
      end
    end)

    it("do not start without the loop's library, and name its rock", function()
      local path, cpath = package.path, package.cpath
      package.path, package.cpath = "lua/?.lua;lua/?/init.lua;./?.lua", cpath:match "[^;]*build/[^;]*"
      local consumer = opens("missing", { workers = 1, handler = function() end }, {})
      package.path, package.cpath = path, cpath
      local ok, message, code = consumer:start()
      assert.is_nil(ok)
      assert.equal("NO_LOOP", code, message)
      assert.matches("option 'loop': the rock '" .. loop .. "' cannot be loaded in a worker: ", message)
    end)
  end)
end

for _, loop in ipairs { "cqueues", "luv" } do
  if pcall(require, loop) then describe_loop(loop) end
end
