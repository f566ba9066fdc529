-- Objects of strand in an event loop: in each loop the same is promised. The loop goes on whatever
-- they do, methods that wait yield, and what cannot yield is told so.
local adapter = require "strand.loop.adapter"
local core = require "strand.core"
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local loops = require "spec.support.loops"
local strand = require "strand"
local waits = require "strand.waits"

local STALL = 1.5 -- seconds: no turn of a loop takes so long, but a call that waits in it would

local function open_producer(options)
  options = options or {}
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = options.kafka["bootstrap.servers"] or helper.bootstrap()
  return assert(strand.producer(options))
end

local function open_admin(servers)
  return assert(strand.admin { kafka = { ["bootstrap.servers"] = servers or helper.bootstrap() },
    log = function() end })
end

-- A port that takes connections and says nothing.
local function dead_servers()
  return "127.0.0.1:9" -- refused: each request waits for its timeout all the same
end

-- Those that have no line in the table of waits: they wait for nothing, or raise in a loop.
local WAIT_NOT = {
  consumer = { run = 1, step = 1, fd = 1, assignment = 1, blockers = 1, health = 1, report = 1, stats = 1 },
  producer = { send = 1, send_async = 1, send_batch = 1, poll = 1, fd = 1, stats = 1 },
  delivery = { done = 1 },
  admin = {},
}

it("the table of methods that wait has each of them", function()
  local kafka = { ["bootstrap.servers"] = dead_servers() }
  local producer = assert(strand.producer { kafka = kafka, log = false })
  local objects = { producer = producer, admin = open_admin(dead_servers()),
    delivery = assert(producer:send_async { topic = "t", value = "v" }),
    consumer = assert(strand.consumer { topics = { "t" }, handler = function() end,
      kafka = { ["bootstrap.servers"] = dead_servers(), ["group.id"] = "g" } }) }
  for class, object in pairs(objects) do
    local known = 0
    for method in pairs(debug.getmetatable(object).__index) do
      known = known + 1
      local has, has_not = waits[class][method] ~= nil, WAIT_NOT[class][method] ~= nil
      assert(has ~= has_not, class .. ":" .. method .. (has and " is in both" or " is in none"))
    end
    assert.is_true(known > 1, class)
  end
  producer:close { timeout = 0 }
  objects.admin:close()
  objects.consumer:close { mode = "now", timeout = 1 }
end)

for name, loop in loops.each() do
  describe("in the loop of " .. name, function()
    setup(fixture.open)
    teardown(function()
      loop.forget()
      fixture.close()
    end)

    local function until_true(limit, condition)
      local deadline = fixture.now() + limit
      while not condition() do
        assert(fixture.now() < deadline, ("not true within %g s"):format(limit))
        loop.sleep(0.01)
      end
    end

    -- The longest time between two turns of the loop while f runs, in seconds.
    local function longest_gap(f)
      local over, longest, last = false, 0, fixture.now()
      loop.spawn(function()
        while not over do
          loop.sleep(0.001)
          local now = fixture.now()
          longest, last = math.max(longest, now - last), now
        end
      end)
      f()
      loop.sleep(0.05) -- so that a wait that nobody could see is seen now
      over = true
      return longest
    end

    it("serves a consumer: its events, its requests, its end", function()
      local topic, folder, seen = helper.topic(2), fixture.folder(), {}
      local records = {}
      for i = 1, 20 do records[i] = { key = "k" .. i } end
      fixture.produce(topic, records)
      local report, message
      loop.run(function()
        local consumer = fixture.consumer { topics = { topic }, handler_args = folder,
          on_event = function(event) seen[event.type] = event end }
        assert(loop.start(consumer))
        until_true(60, function() return fixture.count(folder, "leave") == 20 end)
        assert(consumer:commit())
        assert(consumer:pause { topic = topic })
        assert(consumer:resume { topic = topic })
        assert(consumer:seek { topic = topic, partition = 0, offset = 0 })
        assert.is_table(consumer:stats())
        report, message = consumer:close { timeout = 10 }
      end)
      assert(report, message)
      assert.is_true(report.done >= 20)
      assert.is_not_nil(seen.assigned)
      assert.is_not_nil(seen.sought)
    end)

    it("serves a producer: reports for on_delivery, and for those that wait", function()
      local topic, delivered, acknowledged = helper.topic(1), 0, 0
      loop.run(function()
        local producer = open_producer { on_delivery = function() delivered = delivered + 1 end }
        assert(loop.start(producer))
        for i = 1, 100 do assert(producer:send { topic = topic, value = "v" .. i }) end
        for _ = 1, 200 do
          loop.spawn(function()
            local sent = producer:send_wait { topic = topic, value = "w" }
            if sent then acknowledged = acknowledged + 1 end
          end)
        end
        until_true(30, function() return acknowledged == 200 and delivered == 100 end)
        local sent = assert(producer:send_async { topic = topic, value = "a" })
        assert(sent:wait(10))
        assert(producer:flush(10))
        local report = producer:close()
        assert.are.equal(301, report.delivered)
        assert.are.equal(report, producer:close())
      end)
    end)

    it("lets those that wait for room in the queue in by turns", function()
      local topic, sent = helper.topic(1), 0
      loop.run(function()
        local producer = open_producer { max_queued_records = 3 }
        assert(loop.start(producer))
        for _ = 1, 60 do
          loop.spawn(function()
            assert(producer:send_wait { topic = topic, value = "w", timeout = 60 })
            sent = sent + 1
          end)
        end
        until_true(50, function() return sent == 60 end)
        producer:close()
      end)
    end)

    it("answers an admin's questions, one after another", function()
      local topic, got = helper.topic(3), {}
      loop.run(function()
        local admin = open_admin()
        assert(loop.start(admin))
        for _ = 1, 5 do -- whose turn is when is not promised
          loop.spawn(function()
            local answer = assert(admin:describe({ topics = { topic } }, 20))
            got[#got + 1] = answer
          end)
        end
        until_true(30, function() return #got == 5 end)
        for _, answer in ipairs(got) do assert.are.equal(3, #answer.topics[topic].partitions) end
        assert(admin:close())
        assert(admin:close())
      end)
    end)

    it("loads handlers while it goes on, and says when they cannot be loaded", function()
      local topic = helper.topic(1)
      loop.run(function()
        local slow = fixture.consumer { topics = { topic }, handler = "spec.handlers.slow_start",
          handler_args = 2, workers = 2 }
        assert.is_true(longest_gap(function() assert(loop.start(slow)) end) < STALL)
        local unready = fixture.consumer { topics = { topic }, handler = "spec.handlers.unready" }
        local ok, message, code = loop.start(unready)
        assert.is_nil(ok)
        assert.are.equal("HANDLER", code)
        assert.matches("not ready", message, 1, true)
        slow:close { mode = "now", timeout = 5 }
      end)
    end)

    it("closes a consumer that is asked to while its handlers load", function()
      loop.run(function()
        local consumer = fixture.consumer { topics = { helper.topic(1) },
          handler = "spec.handlers.slow_start", handler_args = 0.5, workers = 1 }
        local started
        loop.spawn(function() started = { loop.start(consumer) } end)
        until_true(10, function() return consumer.loading end)
        assert(consumer:close { mode = "now", timeout = 5 })
        until_true(10, function() return started end)
      end)
    end)

    it("goes on while brokers do not answer", function()
      local gap
      loop.run(function()
        local producer = open_producer { kafka = { ["bootstrap.servers"] = dead_servers() },
          log = false, on_delivery = function() end }
        local admin = open_admin(dead_servers())
        local consumer = fixture.consumer { topics = { "orders" }, log = false,
          kafka = { ["bootstrap.servers"] = dead_servers() } }
        assert(loop.start(producer))
        assert(loop.start(admin))
        assert(loop.start(consumer))
        gap = longest_gap(function()
          local _, _, code = producer:send_wait { topic = "orders", value = "v", timeout = 2 }
          assert.are.equal("TIMED_OUT", code)
          assert(producer:send { topic = "orders", value = "v" })
          assert.are.equal("TIMED_OUT", (select(3, producer:flush(1))))
          assert.are.equal("TIMED_OUT", (select(3, admin:describe({ topics = { "orders" } }, 2))))
          consumer:close { mode = "now", timeout = 2 }
          assert.are.equal(1, producer:close { timeout = 2 }.purged)
          admin:close()
        end)
      end)
      assert.is_true(gap < STALL, ("the loop stood still for %.2f s"):format(gap))
    end)

    -- Handlers of local mode that wait, in coroutines of the loop. start(consumer) begins it.
    local function handle_side_by_side(start)
      local topic, records, running, most, done = helper.topic(1), {}, 0, 0, 0
      for i = 1, 30 do records[i] = { key = "k" .. i } end
      fixture.produce(topic, records)
      local consumer = fixture.consumer { topics = { topic }, workers = 0,
        handler = function(_, context)
          running = running + 1
          most = math.max(most, running)
          context:sleep(0.05)
          loop.sleep(0.05)
          running, done = running - 1, done + 1
        end }
      start(consumer, function()
        until_true(60, function() return done == 30 end)
        assert.are.equal(30, consumer:close { timeout = 10 }.done)
      end)
      assert.is_true(most > 5, most .. " at once")
    end

    it("runs handlers of local mode in its coroutines, started within", function()
      handle_side_by_side(function(consumer, finish)
        loop.run(function()
          assert(loop.start(consumer))
          finish()
        end)
      end)
    end)

    it("runs handlers of local mode in its coroutines, started before it runs", function()
      handle_side_by_side(function(consumer, finish)
        loop.run(function() end)
        assert(loop.start(consumer))
        loop.run(finish, true)
      end)
    end)

    it("closes with the last handler of local mode, though its partition was taken away", function()
      local topic, kafka = helper.topic(2), { ["group.id"] = helper.name "group" }
      local began, go, taken, closed = 0, false, 0, nil
      fixture.produce(topic, { { partition = 0, value = "" }, { partition = 1, value = "" } })
      local first = fixture.consumer { topics = { topic }, kafka = kafka, workers = 0,
        revoke_grace = 0, handler = function()
          began = began + 1
          repeat loop.sleep(0.01) until go
        end }
      local second = fixture.consumer { topics = { topic }, kafka = kafka,
        on_event = function(event) if event.type == "assigned" then taken = taken + 1 end end }
      loop.run(function()
        assert(loop.start(first))
        until_true(60, function() return began == 2 end)
        loop.spawn(function() closed = { first:close { timeout = 100 } } end)
        assert(loop.start(second))
        until_true(60, function() return taken >= 2 and #first:assignment() == 0 end)
        go = true
        until_true(15, function() return closed end)
        second:close { mode = "now", timeout = 5 }
      end)
    end)

    it("shows how long work of local mode has waited for the loop", function()
      local topic, done = helper.topic(1), 0
      fixture.produce(topic, { { key = "a" }, { key = "b" }, { key = "c" } })
      local consumer = fixture.consumer { topics = { topic }, workers = 0, max_ready = 1,
        on_event = function() end, handler = function(record)
          done = done + 1
          if record.key ~= "a" then return end
          local over = fixture.now() + 1.5 -- meanwhile the next one is ready
          while fixture.now() < over do end
        end }
      loop.run(function()
        assert(loop.start(consumer))
        until_true(60, function() return done == 3 end)
        until_true(60, function() return consumer:stats().longest_slice >= 1 end)
        assert(consumer:close())
      end)
    end)

    it("has its turns between handlers of local mode that do not wait", function()
      local topic, records, done, since, most = helper.topic(4), {}, 0, 0, 0
      for i = 1, 600 do records[i] = { key = "k" .. i, value = "" } end
      fixture.produce(topic, records)
      local consumer = fixture.consumer { topics = { topic }, workers = 0, max_in_flight = 1000,
        handler = function()
          local over = fixture.now() + 0.0005
          while fixture.now() < over do end
          done, since = done + 1, since + 1
          most = math.max(most, since)
        end }
      loop.run(function()
        assert(loop.start(consumer))
        until_true(110, function()
          since = 0
          return done == 600
        end)
        assert(consumer:close())
      end)
      -- until_true comes every 10 ms: what fits into that, and the slices of two turns
      assert.is_true(most < 80, most .. " records between two turns")
    end)

    it("tells where a slow handler of local mode waits", function()
      local topic, reason = helper.topic(1), nil
      fixture.produce(topic, { { key = "a" } })
      loop.run(function()
        local consumer = fixture.consumer { topics = { topic }, workers = 0, slow_after = 0.05,
          on_event = function(event)
            if event.type == "slow_record" then reason = reason or event.reason end
          end,
          handler = function()
            local function dawdle()
              repeat loop.sleep(0.01) until reason
            end
            dawdle()
          end }
        assert(loop.start(consumer))
        until_true(60, function() return reason and consumer:stats().done == 1 end)
        consumer:close { timeout = 10 }
      end)
      assert.matches("^stack traceback:.*dawdle", reason)
    end)

    it("has no more coroutines of local mode than handlers may run at once", function()
      local topic, records, spawned, done = helper.topic(1), {}, 0, 0
      for i = 1, 400 do records[i] = { key = "k" .. i } end
      fixture.produce(topic, records)
      loop.run(function()
        local changed = loop.adapter()
        local spawn = changed.spawn
        function changed.spawn(f)
          spawned = spawned + 1
          return spawn(f)
        end
        local consumer = fixture.consumer { topics = { topic }, workers = 0, max_in_flight = 20,
          handler = function(_, context)
            context:sleep(0.005)
            done = done + 1
          end }
        assert(strand.loop.adapter(changed).start(consumer))
        until_true(60, function() return done == 400 end)
        consumer:close { timeout = 10 }
      end)
      assert.is_true(spawned <= 21, spawned .. " coroutines") -- one serves
    end)

    if not loop.passes_yields then
      it("lets a coroutine that others resume take no record, nor end another's", function()
        local topic, records, held, keys, go = helper.topic(1), {}, {}, {}, false
        for i = 1, 8 do records[i] = { key = tostring(i), value = "" } end
        fixture.produce(topic, records)
        local consumer = fixture.consumer { topics = { topic }, workers = 0, max_in_flight = 2,
          retry = { attempts = 2, delay = 0.01 }, exhausted = "skip",
          handler = function(record, context)
            keys[#keys + 1] = record.key
            held[record.key] = coroutine.running()
            if record.key == "1" then return coroutine.yield("for", "nobody") end
            while not go do context:sleep(0.01) end
          end }
        loop.run(function()
          assert(loop.start(consumer))
          until_true(60, function() return #keys == 3 end) -- the third where the first was
          assert(coroutine.resume(held["1"]))
          go = true
          assert(coroutine.resume(held[keys[3]]))
          assert.are.equal(3, #keys)
          until_true(60, function()
            local stats = consumer:stats()
            return stats.done == 7 and stats.skipped == 1
          end)
          assert(consumer:close())
        end)
      end)
    end

    if loop.passes_yields then
      -- Records of keys 1 to n, one each, in handlers of the loop's. -> consumer, events
      local function handled(count, handler, retry)
        local topic, records, events = helper.topic(1), {}, {}
        for i = 1, count do records[i] = { key = tostring(i), value = "" } end
        fixture.produce(topic, records)
        return fixture.consumer { topics = { topic }, workers = 0, handler = handler,
          retry = retry, on_event = function(event) events[#events + 1] = event end }, events
      end

      it("runs handlers that wait for somebody else's resume", function()
        local waiting, got = {}, {}
        local consumer = handled(30, function(record, context)
          waiting[#waiting + 1] = coroutine.running()
          local answer = coroutine.yield "a request"
          context:sleep(0.001)
          if tonumber(record.key) % 3 == 0 then
            waiting[#waiting + 1] = coroutine.running()
            answer = coroutine.yield()
          end
          got[#got + 1] = answer
          if record.key == "7" then return false, "refused" end
        end, { attempts = 1 })
        loop.run(function()
          assert(loop.start(consumer))
          until_true(60, function()
            local threads = waiting
            waiting = {}
            for _, thread in ipairs(threads) do assert(coroutine.resume(thread, "an answer")) end
            local stats = consumer:stats()
            return stats.done == 29 and stats.parked == 1
          end)
          assert(consumer:close())
        end)
        assert.are.equal(30, #got)
        for _, answer in ipairs(got) do assert.are.equal("an answer", answer) end
      end)

      it("finds a handler that yields for nobody, when it is collected", function()
        local consumer, events = handled(5, function(record)
          if record.key == "3" and record.attempt == 1 then coroutine.yield() end
        end, { attempts = 2, delay = 0.01 })
        loop.run(function()
          assert(loop.start(consumer))
          until_true(60, function()
            collectgarbage()
            return consumer:stats().done == 5
          end)
          assert(consumer:close())
        end)
        local reasons = {}
        for _, event in ipairs(events) do
          if event.type == "record_failed" then reasons[#reasons + 1] = event.reason end
        end
        assert.are.same({ "handler was dropped" }, reasons)
      end)
    end

    -- ---- where nothing can yield --------------------------------------------

    -- How each method is called so that it would wait. -> { [class] = { [method] = call } }
    local function calls(o, topic)
      local place = { topic = topic, partition = 0, offset = 0, id = topic .. "/0/0" }
      return {
        consumer = {
          commit = function() return o.consumer:commit() end,
          seek = function() return o.consumer:seek { topic = topic, partition = 0, offset = 0 } end,
          parked = function() return o.consumer:parked() end,
          resolve = function() return o.consumer:resolve(place, "retry") end,
          close = function() return o.consumer:close { mode = "now", timeout = 5 } end,
          start = function() return o.consumer:start() end,
          pause = function() return o.consumer:pause() end,
          resume = function() return o.consumer:resume() end,
          configure = function() return o.consumer:configure { commit_interval = 4 } end,
          stop = false,
        },
        producer = {
          send_wait = function() return o.producer:send_wait { topic = topic, value = "v" } end,
          flush = function()
            assert(o.producer:send { topic = topic, value = "v" })
            return o.producer:flush(10)
          end,
          begin = function() return o.transactional:begin(1) end,
          commit = function() return o.transactional:commit(1) end,
          abort = function() return o.transactional:abort(1) end,
          close = function() return o.producer:close() end,
          send_offsets = false,
          configure = function() return o.producer:configure { max_queued_records = 1000 } end,
        },
        delivery = { wait = function() return o.delivery:wait(10) end },
        admin = {
          create_topics = function() return o.admin:create_topics({ [helper.name "t"] = 1 }, 1) end,
          delete_topics = function() return o.admin:delete_topics({ helper.name "t" }, 1) end,
          create_partitions = function()
            return o.admin:create_partitions({ [helper.name "t"] = 2 }, 1)
          end,
          group_offsets = function() return o.admin:group_offsets("g", { topic }, 5) end,
          alter_config = function()
            return o.admin:alter_config({ topic = topic, set = { ["retention.ms"] = "1" } }, 1)
          end,
          describe = function() return o.admin:describe({ topics = { topic } }, 5) end,
          groups = function() return o.admin:groups(nil, 5) end,
          list_offsets = function()
            return o.admin:list_offsets({ topics = { topic }, offset = "earliest" }, 5)
          end,
          lag = function() return o.admin:lag("g", { topic }, 5) end,
          reset_offsets = function()
            return o.admin:reset_offsets("g", { topics = { topic }, offset = "earliest" }, 1)
          end,
          delete_group_offsets = function() return o.admin:delete_group_offsets("g", { topic }, 1) end,
          delete_records = function()
            return o.admin:delete_records({ { topic = topic, partition = 0, offset = 1 } }, 1)
          end,
          read = function()
            return o.admin:read({ topic = topic, partition = 0, offset = 0, records = 1 }, 1)
          end,
          close = function() return o.admin:close() end,
        },
      }
    end

    -- Whether a coroutine has waited in C, while f runs.
    local function watch_waits(counts, f)
      local wait = core.wait
      function core.wait(fds, timeout)
        local thread, is_main = coroutine.running()
        if thread and not is_main and timeout ~= 0 then counts.blocked = true end
        return wait(fds, timeout)
      end
      local ok, problem = pcall(f)
      core.wait = wait
      if not ok then error(problem, 0) end
    end

    -- Starts one of each in the loop, with an adapter that counts what sleeps.
    local function open_all(topic, counts)
      local changed = loop.adapter()
      local sleep = changed.sleep
      function changed.sleep(...)
        counts.sleeps = counts.sleeps + 1
        return sleep(...)
      end
      local counting = strand.loop.adapter(changed)
      local o = { producer = open_producer(), admin = open_admin(),
        transactional = open_producer { transactional_id = helper.name "id", log = false },
        consumer = fixture.consumer { topics = { topic } } }
      for _, object in pairs(o) do assert(counting.start(object)) end
      until_true(30, function() return o.consumer:health() end)
      o.delivery = assert(o.producer:send_async { topic = topic, value = "v" })
      return o
    end

    -- In an order in which nobody is closed that is still called.
    local function each_call(list, act)
      for pass = 1, 2 do
        for _, class in ipairs { "consumer", "delivery", "producer", "admin" } do
          for method, does_wait in pairs(waits[class]) do
            local call = list[class][method]
            assert(call ~= nil, class .. ":" .. method .. " is in the table, and not tried")
            if call and (does_wait == "begins") == (pass == 2) then
              act(class .. ":" .. method .. "()", does_wait, call)
            end
          end
        end
      end
    end

    -- A thread of ours may be as quick as we are: of each answer the first look sees nothing.
    local function look_too_early(object)
      local real, seen = object.core, setmetatable({}, { __mode = "k" })
      object.core = setmetatable({}, { __index = function(_, method)
        return function(_, ticket, ...)
          if (method == "answer" or method:find "_done$") and not seen[ticket] then
            seen[ticket] = true
            return false
          end
          return real[method](real, ticket, ...)
        end
      end })
      return function() object.core = real end
    end

    it("yields in every method of the table", function()
      local topic, counts = helper.topic(1), { sleeps = 0 }
      local restore = {}
      finally(function()
        helper.mock():rtt(nil, 0)
        for i, one in ipairs(restore) do
          one()
          restore[i] = nil -- it keeps the loop
        end
      end)
      fixture.produce(topic, { { key = "a" } })
      watch_waits(counts, function() loop.run(function()
        local o = open_all(topic, counts)
        assert(helper.mock():rtt(nil, 0.05)) -- so that no broker's answer is there at once
        restore[1], restore[2] = look_too_early(o.consumer), look_too_early(o.admin)
        each_call(calls(o, topic), function(title, does_wait, call)
          local before, ok, problem = counts.sleeps, true, nil
          if title == "producer:commit()" or title == "producer:abort()" then return end -- misuse
          if adapter.yields_across_pcall then ok, problem = pcall(call) else call() end
          assert(ok, title .. ": " .. tostring(problem))
          assert(not counts.blocked, title .. " has waited in C")
          if not does_wait then assert(counts.sleeps == before, title .. " yielded") end
          if title == "delivery:wait()" then return end -- its report stays
          assert(not does_wait or counts.sleeps > before, title .. " did not yield")
        end)
        o.transactional:close { timeout = 1 }
      end) end)
    end)

    -- Ways to stand where no coroutine can be left, each by a call below f.
    local function in_sort(f)
      local once
      table.sort({ 1, 2 }, function()
        if not once then
          once = true
          f()
        end
        return false
      end)
    end

    local function in_gsub(f) string.gsub("x", "x", function() f() end) end

    it("returns CANNOT_WAIT in every method, where it cannot yield", function()
      local topic, counts = helper.topic(1), { sleeps = 0 }
      local o
      local function refuse(title, does_wait, call)
        if does_wait == false then return end
        local result, message, code = call()
        assert(result == nil and code == "CANNOT_WAIT", ("%s: %s, %s"):format(title,
          tostring(message), tostring(code)))
      end
      loop.run(function()
        o = open_all(topic, counts)
        local list = calls(o, topic)
        list.producer.commit, list.producer.abort = list.producer.begin, list.producer.begin
        for _, way in ipairs { in_sort, in_gsub } do
          way(function()
            each_call(list, function(title, does_wait, call)
              if does_wait ~= "begins" then refuse(title, does_wait, call) end
            end)
          end)
        end
      end)
      loop.outside(function()
        local list = calls(o, topic)
        list.producer.commit, list.producer.abort = list.producer.begin, list.producer.begin
        each_call(list, refuse)
      end)
      loop.run(function() -- what close() has begun there ends
        assert(o.consumer:close())
        assert(o.producer:close())
        assert(o.admin:close())
        o.transactional:close { timeout = 1 }
      end, true)
    end)

    it("raises in the iterator of parked() where it cannot yield, and goes on elsewhere", function()
      local topic, keys, refused = helper.topic(1), {}, {}
      fixture.produce(topic, { { key = "a", value = "park" } })
      local consumer, next_parked
      local function try() refused[#refused + 1] = { pcall(next_parked) } end
      loop.run(function()
        consumer = fixture.consumer { topics = { topic } }
        assert(loop.start(consumer))
        until_true(30, function() return consumer:stats().parked == 1 end)
        next_parked = assert(consumer:parked())
        keys[1] = next_parked().key
        in_sort(try)
      end)
      loop.outside(try)
      loop.run(function()
        keys[2] = next_parked()
        consumer:close { mode = "now", timeout = 5 }
      end, true)
      assert.same({ "a" }, keys)
      if not adapter.yields_across_pcall then return end -- there all was read before
      assert.same({ false, false }, { refused[1][1], refused[2][1] })
      assert.matches("parked(): it would wait, and cannot yield here", refused[1][2], 1, true)
      assert.matches("parked(): it would wait, and ", refused[2][2], 1, true)
    end)

    it("does not wait in callbacks, but a close that is asked for there happens", function()
      local codes = {}
      loop.run(function()
        local producer
        producer = open_producer { on_delivery = function()
          codes[1] = select(3, producer:send_wait { topic = "orders", value = "v" })
          codes[2] = select(3, producer:close())
        end }
        assert(loop.start(producer))
        assert(producer:send { topic = helper.topic(1), value = "v" })
        until_true(20, function() return codes[2] end)
        assert.are.same({ "CANNOT_WAIT", "CANNOT_WAIT" }, codes)
        assert.are.equal(1, producer:close().delivered)
      end)
    end)

    if not adapter.yields_across_pcall then
      it("returns CANNOT_WAIT where Lua 5.1 cannot yield", function()
        local producer = open_producer()
        local function code() return (select(3, producer:flush(1))) end
        local seen = {}
        loop.run(function()
          assert(loop.start(producer))
          pcall(function() seen.pcall = code() end)
          local t = setmetatable({}, { __index = function() return code() end })
          seen.index = t.x
          for c in code do -- luacheck: ignore
            seen.iterator = c
            break
          end
          seen.unnamed = (function() return function() return tostring(code()) end end)()()
          producer:close()
        end)
        assert.are.same({ pcall = "CANNOT_WAIT", index = "CANNOT_WAIT", iterator = "CANNOT_WAIT",
          unnamed = "nil" }, seen)
      end)
    end

    -- ---- misuse, and faults of adapters -------------------------------------

    local function raises(text, f, ...)
      local ok, message = pcall(f, ...)
      assert.is_false(ok)
      assert.matches(text, message, 1, true)
    end

    it("refuses to serve twice, or what is closed, and to be stepped as well", function()
      loop.run(function()
        local consumer = fixture.consumer { topics = { helper.topic(1) } }
        local producer = open_producer()
        assert(loop.start(consumer))
        assert(loop.start(producer))
        local start = loop.start
        raises("the consumer is served by an event loop already", start, consumer)
        raises("the producer is served by an event loop already", start, producer)
        raises("step(): the consumer is served by an event loop", consumer.step, consumer, 0)
        raises("run(): the consumer is served by an event loop", consumer.run, consumer)
        raises("strand.run(): the consumer is served by an event loop", strand.run, consumer)
        raises("poll(): the producer is served by an event loop", producer.poll, producer)
        consumer:close { mode = "now", timeout = 5 }
        producer:close()
        raises("attempt to use a closed consumer", start, consumer)
        raises("attempt to use a closed producer", start, producer)
        raises("argument 'object': consumer, producer or admin expected, got a table", start, {})
      end)
    end)

    it("survives callbacks that raise", function()
      local lines, calls_made, topic = {}, 0, helper.topic(1)
      loop.run(function()
        local producer = open_producer {
          on_delivery = function()
            calls_made = calls_made + 1
            error "on purpose"
          end,
          log = function(_, _, message) lines[#lines + 1] = message end }
        assert(loop.start(producer))
        for _ = 1, 3 do assert(producer:send { topic = topic, value = "v" }) end
        until_true(20, function() return calls_made == 3 end)
        producer:close()
      end)
      assert.matches("on purpose", table.concat(lines, "\n"), 1, true)
    end)

    it("tells what an adapter does wrong", function()
      local function told(change, limit)
        local events, topic = {}, helper.topic(1)
        loop.run(function()
          local changed = loop.adapter()
          local producer = open_producer { on_event = function(event)
            if event.code == "ADAPTER" then events[#events + 1] = event.reason end
          end }
          change(changed)
          assert(strand.loop.adapter(changed).start(producer))
          assert(producer:send { topic = topic, value = "v" })
          until_true(limit, function()
            producer:send_wait { topic = topic, value = "v", timeout = 1.2 }
            return #events > 0
          end)
          producer:close()
        end)
        return events[1]
      end
      if adapter.yields_across_pcall then
        assert.matches("wait_readable raised: .*broken", told(function(changed)
          local wait_readable, once = changed.wait_readable, nil
          function changed.wait_readable(fd)
            if once then return wait_readable(fd) end
            once = true
            error "broken"
          end
        end, 20))
      end
      assert.matches("spawn ran the body twice", told(function(changed)
        local spawn, once = changed.spawn, nil
        function changed.spawn(body)
          spawn(body)
          if once then return end
          once = true
          spawn(body)
        end
      end, 20))
      assert.matches("spawn has not run the body", told(function(changed)
        local spawn, once = changed.spawn, nil
        function changed.spawn(body)
          if once then return spawn(body) end
          once = true
        end
      end, 30))
    end)

    -- Handlers of local mode under an adapter that change(adapter) has changed. 'more': so many
    -- records come when the first 20 are done. -> what was told of the adapter
    local function handle_under(change, more, help)
      local topic, reasons, done = helper.topic(1), {}, 0
      local function produce(first, last)
        local records = {}
        for i = first, last do records[#records + 1] = { key = "k" .. i } end
        fixture.produce(topic, records)
      end
      produce(1, 20)
      loop.run(function()
        local changed = loop.adapter()
        local consumer = fixture.consumer { topics = { topic }, workers = 0, max_in_flight = 10,
          on_event = function(event)
            if event.code == "ADAPTER" then reasons[#reasons + 1] = event.reason end
          end,
          handler = function(_, context)
            context:sleep(0.01)
            done = done + 1
          end }
        change(changed)
        assert(strand.loop.adapter(changed).start(consumer))
        if help then
          until_true(30, function() return #reasons > 0 end)
          help()
        end
        until_true(60, function() return done == 20 end)
        if more then
          produce(21, 20 + more)
          until_true(60, function() return done == 20 + more and #reasons > 0 end)
        end
        assert.are.equal(20 + (more or 0), consumer:close { timeout = 10 }.done)
      end)
      return table.concat(reasons, "\n")
    end

    -- Of the first 'count' bodies, after the coroutine that serves.
    local function spawn_otherwise(count, otherwise)
      return function(changed)
        local spawn, serves = changed.spawn, false
        function changed.spawn(body)
          if not serves then
            serves = true
            return spawn(body)
          elseif count > 0 then
            count = count - 1
            return otherwise(spawn, body)
          end
          return spawn(body)
        end
      end
    end

    local function wake_otherwise(count, otherwise)
      return function(changed)
        local wake = changed.wake
        function changed.wake(waiter)
          if not waiter.number or count == 0 then return wake(waiter) end
          count = count - 1
          return otherwise(wake, waiter)
        end
      end
    end

    it("tells that spawn raised, and handles all records in spite of it", function()
      assert.matches("the event loop's adapter: spawn raised: .*not today",
        handle_under(spawn_otherwise(3, function() error "not today" end)))
    end)

    it("tells of handlers' coroutines that spawn does not begin", function()
      local kept = {}
      local reasons = handle_under(spawn_otherwise(1000, function(spawn, body)
        kept[#kept + 1] = { spawn, body }
      end), nil, function()
        for _, one in ipairs(kept) do one[1](one[2]) end
      end)
      assert.matches("spawn has not run a body for 2 s", reasons, 1, true)
      assert.is_true(#kept <= 10)
    end)

    it("tells that spawn ran a handlers' coroutine twice, which is one all the same", function()
      assert.matches("spawn ran a body twice", handle_under(spawn_otherwise(1, function(spawn, body)
        spawn(body)
        return spawn(body)
      end)), 1, true)
    end)

    it("tells that wake raised, and handles all records in spite of it", function()
      assert.matches("the event loop's adapter: wake raised: .*not today",
        handle_under(wake_otherwise(15, function() error "not today" end), 20))
    end)

    it("tells of handlers' coroutines that wake does not resume", function()
      local kept = {}
      assert.matches("wake has not ended a sleep for 2 s (1 of them)",
        handle_under(wake_otherwise(1, function(_, waiter) kept[1] = waiter end), 5), 1, true)
      assert.is_number(kept[1].number) -- kept until here
    end)

    it("tells of handlers' coroutines that wake drops, or what keeps them has not resumed", function()
      local reasons = handle_under(function(changed)
        local wake, dropped = changed.wake, false
        function changed.wake(waiter)
          if waiter.number and not dropped then
            dropped = true
            return
          end
          collectgarbage()
          return wake(waiter)
        end
      end, 5)
      local told = reasons:find("wake has not ended a sleep for 2 s (1 of them)", 1, true)
        or reasons:find("a coroutine of handlers was dropped that spawn or wake was to run (1 of them)",
          1, true)
      assert.is_truthy(told)
    end)

    it("does not blame an adapter while the loop is busy, whoever waits", function()
      if not helper.mock() then return end -- answers that come late
      local topic, events, flushed = helper.topic(1), {}, 0
      local producer = open_producer { on_event = function(event) events[#events + 1] = event end }
      loop.run(function()
        assert(loop.start(producer))
        assert(producer:send_wait { topic = topic, value = "" })
        helper.mock():rtt(nil, 0.5)
        assert(producer:send { topic = topic, value = "" })
        for _ = 1, 5 do
          loop.spawn(function()
            assert(producer:flush(30))
            flushed = flushed + 1
          end)
        end
        loop.sleep(0.1) -- they wait
        local over = fixture.now() + 1.5
        while fixture.now() < over do end -- meanwhile the report comes
        until_true(30, function() return flushed == 5 end)
        helper.mock():rtt(nil, 0)
        producer:close()
      end)
      assert.are.same({}, events)
    end)

    it("says which field of an adapter is missing, wrong or unknown", function()
      loop.run(function()
        for _, field in ipairs { "spawn", "wait_readable", "wake", "sleep", "now" } do
          local changed = loop.adapter()
          local value = changed[field]
          changed[field] = nil
          raises(("adapter: field '%s': function expected, got nil"):format(field),
            strand.loop.adapter, changed)
          changed[field] = value
        end
        local changed = loop.adapter()
        changed.alive = 3
        raises("adapter: field 'alive': function expected, got 3", strand.loop.adapter, changed)
        changed.alive, changed.wakes = nil, print
        raises("adapter: unknown field 'wakes'", strand.loop.adapter, changed)
        raises("adapter: table expected, got nil", strand.loop.adapter)
      end)
    end)

    it("keeps what is forgotten until it is closed, and nothing after the loop", function()
      local delivered, topic = 0, helper.topic(1)
      loop.run(function()
        local function forget()
          local producer = open_producer { on_delivery = function() delivered = delivered + 1 end }
          assert(loop.start(producer))
          assert(producer:send { topic = topic, value = "v" })
          return setmetatable({ producer }, { __mode = "v" })
        end
        local weak = forget()
        collectgarbage()
        until_true(20, function() return delivered == 1 end)
        assert(weak[1]):close()
      end)
    end)
  end)
end
