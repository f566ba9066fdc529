-- The end of a consumer: what each mode waits for, that it always comes
-- within the timeout and a second, and that nothing is left behind.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"
local strand = require "strand"

local MARGIN = 1 -- second past the timeout, as promised

-- Closes, and fails when that takes longer than promised (or than 'limit').
local function close(consumer, options, limit)
  local seconds, report, message, code, last = helper.seconds(consumer.close, consumer, options)
  limit = limit or options.timeout + MARGIN
  assert.is_true(seconds <= limit + helper.late, ("close took %.2f s, not %g s"):format(seconds, limit))
  return report or last, message, code, seconds
end

local function states(report)
  local count = {}
  for _, record in ipairs(report.unfinished) do
    count[record.state] = (count[record.state] or 0) + 1
  end
  return count
end

local function fifo(folder)
  local path = folder .. "/fifo"
  local ok = os.execute("mkfifo " .. path)
  assert(ok == true or ok == 0)
  return function() assert(io.open(path, "r+")):close() end -- lets its readers go
end

modes.each(describe, "close", function(mode)
  local scenes = {}

  local function scene(name, options, records)
    local topic, folder = helper.topic(1), fixture.folder()
    if records then fixture.produce(topic, records) end
    options.topics, options.handler_args = options.topics or { topic }, folder
    local this = { topic = topic, folder = folder, events = {} }
    options.on_event = function(event) this.events[event.type] = event end
    options.log = function() end -- of brokers that are down on purpose
    this.consumer = fixture.consumer(options)
    scenes[name] = this
    return this.consumer
  end

  local function many(count, value)
    local records = {}
    for i = 1, count do records[i] = { key = "k" .. i, value = value } end
    return records
  end

  local down, release_fifo
  local kafka = { ["group.id"] = helper.name "group" }

  setup(function()
    fixture.open(mode)
    down = assert(strand.mock { brokers = 1, topics = { orders = 1 } })
    -- In local mode a handler in C would keep the spec itself.
    local for_ever = mode.is_local and "take 3600" or mode.coroutines and "gate for_ever" or "fifo fifo"
    local stuck = scene("stuck", { workers = 2 }, { { key = "a", value = for_ever },
      { key = "a" }, { key = "b" } })
    release_fifo = fifo(scenes.stuck.folder)
    fixture.start(
      scene("finish", { workers = 2 }, many(20, "gate g;take 0.3")),
      scene("drain", { workers = 2, retry = { delay = 0.05, jitter = 0 } },
        many(20, "gate g;take 0.02;fail 1")),
      scene("rate", { workers = 2, rate = { records_per_second = 5, burst = 1 } }, many(20)),
      scene("now", { workers = 2 }, many(20, "gate g")),
      scene("slow", { workers = 2 }, many(20, "gate g")),
      scene("back-off", { retry = { delay = 3600, max_delay = 3600 } },
        { { key = "a", value = "fail 1" }, { key = "a" }, { key = "b" } }),
      stuck,
      scene("rebalance", { kafka = kafka }),
      scene("down", { kafka = { ["bootstrap.servers"] = down.bootstrap_servers },
        topics = { "orders" } }),
      scene("commit", {}, { { key = "a", value = "gate g" } })
    )
  end)
  teardown(function()
    fixture.clear()
    down:close()
    fixture.close()
  end)

  local function entered(name, count)
    local this = scenes[name]
    helper.eventually(20, function() return fixture.count(this.folder, "enter") >= count end,
      this.consumer)
    return this.consumer, this.folder
  end

  it("in mode 'finish' waits for what is in flight, starts no more, and commits", function()
    local consumer, folder = entered("finish", 2)
    helper.eventually(20, function() return consumer:stats().buffered_records == 20 end, consumer)
    fixture.release(folder, "g")
    local report, message = close(consumer, { timeout = 10 }, 3)
    assert.is_nil(message)
    assert.equal(fixture.count(folder, "enter"), fixture.count(folder, "leave"))
    assert.equal(fixture.count(folder, "enter"), report.done)
    assert.is_true(report.done >= 2 and report.done <= 4)
    assert.equal(20 - report.done, #report.unfinished)
    assert.same({ buffered = 20 - report.done }, states(report))
    assert.is_false(report.detached)
  end)

  it("in mode 'drain' waits for all that was fetched, and each due retry once", function()
    local consumer, folder = entered("drain", 2)
    helper.eventually(20, function() return consumer:stats().buffered_records == 20 end, consumer)
    fixture.release(folder, "g")
    local report, message = close(consumer, { mode = "drain", timeout = 10 })
    assert.is_nil(message)
    -- What was tried again in time is done; every record was tried.
    local tried = {}
    for _, line in ipairs(fixture.journal(folder)) do tried[line.offset] = true end
    assert.equal(19, #tried) -- and 0
    assert.equal(20, report.done + #report.unfinished)
    assert.is_nil(states(report).buffered)
    assert.is_nil(states(report).running)
  end)

  it("in mode 'drain' waits for what waits for a rate", function()
    local consumer = entered("rate", 1)
    helper.eventually(20, function()
      local stats = consumer:stats()
      return stats.buffered_records + stats.done >= 20
    end, consumer)
    assert.is_true(consumer:configure { rate = { records_per_second = 20, burst = 1 } })
    local report, message, _, seconds = close(consumer, { mode = "drain", timeout = 20 })
    assert.is_nil(message)
    assert.equal(20, report.done)
    assert.same({}, report.unfinished)
    assert.is_true(seconds > 0.05) -- nothing was in flight most of the time
  end)

  it("in mode 'drain' says what its time did not suffice for", function()
    local this = scenes.slow
    helper.eventually(20, function() return fixture.count(this.folder, "enter") > 0 end,
      this.consumer)
    local ok, message, code, report = this.consumer:close { mode = "drain", timeout = 1.5 }
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.equal(("%d records unfinished after 1.5 s"):format(report.unfinished_total), message)
    assert.is_true(report.unfinished_total > 10)
    fixture.release(this.folder, "g")
  end)

  it("in mode 'now' waits for nothing that runs", function()
    local consumer, folder = entered("now", 2)
    local report, message = close(consumer, { mode = "now", timeout = 20 }, 3)
    assert.is_nil(message)
    assert.equal(0, report.done)
    assert.same({ running = 2, buffered = 18 }, states(report))
    assert.is_true(report.detached) -- its handlers run on
    fixture.release(folder, "g")
  end)

  it("does not wait for back-off, and lists it with what is behind it", function()
    local consumer = entered("back-off", 2)
    helper.eventually(20, function() return consumer:stats().failed == 1 end, consumer)
    local report = close(consumer, { mode = "drain", timeout = 20 }, 3)
    assert.same({ waiting = 1, behind = 1 }, states(report))
    assert.same({ 0, 1 }, { report.unfinished[1].offset, report.unfinished[2].offset })
    assert.equal(2, report.unfinished_total)
  end)

  it("ends in time with a handler that is stuck for ever", function()
    finally(release_fifo)
    local consumer, folder = entered("stuck", 2)
    helper.eventually(20, function() return fixture.count(folder, "leave") == 1 end, consumer)
    local _, message, code, report = consumer:close { timeout = 1.5 }
    assert.equal("TIMED_OUT", code)
    assert.equal("2 records unfinished after 1.5 s", message)
    assert.is_true(report.detached)
    assert.equal(1, report.done)
    assert.same({ running = 1, behind = 1 }, states(report))
    assert.same({ { topic = scenes.stuck.topic, partition = 0, offset = 0 } }, report.committed)
  end)

  it("ends in time in a rebalance, of those that were members and those that become it", function()
    local this = scenes.rebalance
    local second = fixture.consumer { topics = { this.topic }, kafka = kafka }
    assert(second:start())
    helper.eventually(20, function() return this.events.revoked end, this.consumer, second)
    -- The group waits for 5 s on the mock: both are in the middle of it. The
    -- broker may not hear that they leave before that.
    close(this.consumer, { timeout = 1 })
    close(second, { timeout = 1 })
  end)

  it("ends in time without a broker, and says what could not be committed", function()
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = down.bootstrap_servers } })
    for i = 1, 3 do
      assert(producer:send_wait { topic = "orders", key = "k" .. i, value = "gate g" })
    end
    producer:close()
    local consumer, folder = entered("down", 3)
    down:down()
    fixture.release(folder, "g")
    helper.eventually(20, function() return fixture.count(folder, "leave") == 3 end, consumer)
    local report, message, code = close(consumer, { timeout = 2 })
    assert.equal(3, report.done)
    assert.is_string(message)
    assert.is_string(code)
    for _, place in ipairs(report.committed) do assert.equal(0, place.offset) end
  end)

  it("gives the last commit's failure with its report, each time the same", function()
    local consumer, folder = entered("commit", 1)
    assert(helper.mock():fail("OffsetCommit", "TOPIC_AUTHORIZATION_FAILED", 100))
    finally(function()
      helper.close_cluster() -- the last one here that needs it
    end)
    fixture.release(folder, "g")
    local seconds, ok, message, code, report = helper.seconds(consumer.close, consumer,
      { timeout = 2 })
    assert.is_true(seconds < 3 + helper.late, ("close took %.2f s"):format(seconds))
    assert.is_nil(ok)
    assert.equal("TOPIC_AUTHORIZATION_FAILED", code)
    assert.matches("commit", message)
    assert.equal(1, report.done)
    local _, again, same, last = consumer:close()
    assert.same({ message, code }, { again, same })
    assert.equal(report, last)
  end)
end)

describe("close of a consumer that has no group", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("ends at once when it was never started, and gives one report", function()
    local consumer = fixture.consumer { topics = { helper.topic(1) } }
    local report = close(consumer, { timeout = 5 }, 1)
    assert.same({ 0, 0, {}, {} }, { report.done, report.seconds, report.unfinished,
      report.committed })
    assert.equal(report, consumer:close())
    assert.equal(report, consumer:close { mode = "now", timeout = 0 })
  end)

  it("ends in time when it never reached a broker", function()
    for _, mode in ipairs { "finish", "now" } do
      local consumer = fixture.consumer { topics = { "orders" }, log = function() end,
        kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } }
      assert(consumer:start())
      helper.eventually(1, fixture.pause(0.2), consumer)
      local report = close(consumer, { mode = mode, timeout = 2 })
      assert.equal(0, report.done)
    end
  end)

  it("ends in time with a timeout of nothing", function()
    local consumer = fixture.consumer { topics = { helper.topic(1) } }
    assert(consumer:start())
    close(consumer, { timeout = 0 })
  end)

  if _VERSION == "Lua 5.4" then
    it("comes with a variable's scope in Lua 5.4", function()
      local consumer = fixture.consumer { topics = { helper.topic(1) } }
      local scope = assert(load [[
        local consumer = ...
        do
          local scoped <close> = consumer
          assert(scoped:start())
        end
        return consumer:step(0)
      ]])
      assert.same({ nil, "the consumer is closed", "CLOSED" }, { scope(consumer) })
    end)
  end
end)

describe("a consumer that is collected", function()
  setup(fixture.open)
  teardown(fixture.close)

  local function threads_end(before, limit)
    helper.eventually(limit, function() return helper.threads() <= before end)
  end

  -- A consumer that runs, and that nobody has any more. Not fixture.consumer,
  -- which would keep it.
  local function abandon(topic, folder, condition)
    local consumer = fixture.start(assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = helper.bootstrap(), ["group.id"] = helper.name "group",
        ["session.timeout.ms"] = 6000, ["fetch.wait.max.ms"] = 10 },
      topics = { topic }, workers = 2, members = 2, handler = "spec.handlers.actor",
      handler_args = folder,
    }))
    -- The mock takes five seconds for each rebalance, and the second member
    -- may bring one more, or two.
    helper.eventually(30, condition, consumer)
  end

  local function collect()
    if rawget(_G, "jit") then _G.jit.flush() end -- traces keep what they saw
    collectgarbage()
    collectgarbage()
  end

  -- That it leaves its group: spec/kafka/closing_spec.lua.
  it("has ended within five seconds, with its threads", function()
    local topic, folder = helper.topic(2), fixture.folder()
    local before = helper.threads()
    fixture.produce(topic, { { key = "a" } })
    abandon(topic, folder, function() return fixture.count(folder, "leave") >= 1 end)
    assert.is_true(helper.threads() > before)
    assert.is_true((helper.seconds(collect)) < 5 + MARGIN)
    threads_end(before, 5)
  end)

  it("lets the process go on when its handler is stuck in C", function()
    local topic, folder = helper.topic(1), fixture.folder()
    local release = fifo(folder)
    local before = helper.threads()
    fixture.produce(topic, { { key = "a", value = "fifo fifo" } })
    abandon(topic, folder, function() return fixture.count(folder, "enter") == 1 end)
    local seconds = helper.seconds(collect)
    assert.is_true(seconds < 5 + MARGIN + helper.late, ("collecting took %.1f s"):format(seconds))
    release()
    threads_end(before, 5)
  end)

  it("lets the process end with a consumer that runs", function()
    local topic, folder = helper.topic(1), fixture.folder()
    fixture.produce(topic, { { key = "a" }, { key = "b", value = "gate never" } })
    local child = helper.spawn([[
      local strand = require "strand"
      local consumer = assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = arg[1], ["group.id"] = arg[2] }, topics = { arg[3] },
        workers = 2, handler = "spec.handlers.actor", handler_args = arg[4] })
      assert(consumer:start())
      consumer:step(30)
      while true do
        local file = io.open(arg[4] .. "/end")
        if file then os.exit(7, true) end
        consumer:step(0.01)
      end
    ]], helper.bootstrap(), helper.name "group", topic, folder)
    helper.eventually(20, function() return fixture.count(folder, "enter", 1) == 1 end)
    fixture.release(folder, "end")
    local seconds, status = helper.seconds(child.wait, child, 20)
    assert.equal(7, status, child:errors())
    assert.is_true(seconds < 5 + MARGIN + helper.late)
  end)
end)

-- Its finalizers share the five seconds that docs/producer.md promises.
describe("a Lua state that closes with producers that nobody closed", function()
  -- Makes as many producers as 'count' for each of the addresses given, each
  -- with a record on its way once the parent has said so.
  local PROGRAM = [[
    io.stdout:setvbuf "line"
    local strand = require "strand"
    local topic, folder, count = arg[1], arg[2], tonumber(arg[3])
    local producers = {}
    local function settle() for _, producer in ipairs(producers) do producer:poll(0.01) end end
    for i = 4, #arg do
      for _ = 1, count do
        local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = arg[i],
          ["topic.metadata.refresh.interval.ms"] = -1 }, on_event = function() end })
        if arg[i] ~= "127.0.0.1:1" then assert(producer:send_wait { topic = topic }) end
        producers[#producers + 1] = producer
      end
    end
    print "open"
    while not io.open(folder .. "/go") do settle() end
    for _, producer in ipairs(producers) do assert(producer:send { topic = topic, value = "v" }) end
    print "sent"
  ]]

  -- Seconds from its last line to its end, and what it wrote to its log.
  local function ending(topic, count, prepare, ...)
    local folder = helper.folder()
    local child = helper.spawn(PROGRAM, topic, folder, count, ...)
    child:says("open", 30)
    prepare()
    helper.write(folder .. "/go", "")
    child:says("sent", 30)
    local seconds = helper.seconds(child.wait, child, 60)
    assert.equal(0, child:status())
    return seconds, child:errors()
  end

  after_each(helper.end_children)

  it("does not wait for brokers that are away", function()
    local seconds, errors = ending("t", 4, function() end, "127.0.0.1:1")
    assert.is_true(seconds < 3 + helper.late, ("it took %.1f s"):format(seconds))
    assert.equal(4, select(2, errors:gsub("close%(%).-1 records were not delivered", "")), errors)
  end)

  it("waits five seconds in all for brokers that hang, and delivers to those that do not", function()
    local hangs = helper.spawn [[
      local strand = require "strand"
      local mock = assert(strand.mock { brokers = 1, topics = { t = 1 } })
      print(mock.bootstrap_servers)
      io.stdout:flush()
      while true do require "strand.core".wait({}, 3600) end
    ]]
    hangs:says(":", 20)
    local address = hangs:output():match "%S+"
    local topic = "t"
    local lives = assert(strand.mock { brokers = 1, topics = { t = 1 } })
    -- Collected first is what was made last: so these stand before it.
    local seconds, errors = ending(topic, 4, function() hangs:signal "STOP" end,
      lives.bootstrap_servers, address)
    assert.is_true(seconds < 5 + MARGIN + helper.late, ("it took %.1f s"):format(seconds))
    assert.equal(4, select(2, errors:gsub("close%(%).-1 records were not delivered", "")), errors)
    local producer = assert(strand.producer { kafka = {
      ["bootstrap.servers"] = lives.bootstrap_servers } })
    assert.equal(8, assert(producer:send_wait { topic = topic }).offset)
    producer:close()
    lives:close()
  end)
end)

-- librdkafka turned a core round for as long as the leave was not answered.
describe("a close that goes on in the background", function()
  setup(fixture.open)
  teardown(fixture.close)
  after_each(helper.end_children)

  it("costs nothing while its broker hangs", function()
    local broker = helper.spawn [[
      local mock = assert(require "strand".mock { brokers = 1, topics = { orders = 1 } })
      print(mock.bootstrap_servers)
      io.stdout:flush()
      while true do require "strand.core".wait({}, 3600) end
    ]]
    broker:says(":", 20)
    local folder = helper.folder()
    local child = helper.spawn([[
      io.stdout:setvbuf "line"
      local strand, core = require "strand", require "strand.core"
      local consumer = assert(strand.consumer { topics = { "orders" }, log = false,
        kafka = { ["bootstrap.servers"] = arg[1], ["group.id"] = "g" }, handler = function() end })
      assert(consumer:start())
      while not consumer:health() do consumer:step(0.01) end
      print "member"
      while not io.open(arg[2] .. "/go") do consumer:step(0.01) end
      local _, _, _, report = consumer:close { timeout = 0.5 }
      assert(report.detached)
      local before, deadline = os.clock(), core.now() + 2
      while core.now() < deadline do core.wait({}, deadline - core.now()) end
      print(("%.3f s of CPU"):format(os.clock() - before))
    ]], broker:output():match "%S+", folder)
    child:says("member", 30)
    broker:signal "STOP"
    helper.write(folder .. "/go", "")
    child:says("of CPU", 30)
    assert.equal(0, child:wait(60), child:errors())
    assert.is_true(tonumber(child:output():match "([%d.]+) s of CPU") < 0.1, child:output())
  end)
end)

describe("another process, after fork", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is told so by every method, frees nothing, and the parent goes on", function()
    local topic, folder = helper.topic(1), fixture.folder()
    local ok = os.execute("cc -shared -fPIC -Wl,-z,nodelete -o " .. folder
      .. "/fork.so spec/support/fork.c")
    assert(ok == true or ok == 0)
    fixture.produce(topic, { { key = "a" }, { key = "b", value = "gate g" } })
    local child = helper.spawn([[
      local strand = require "strand"
      local fork = assert(package.loadlib(arg[4] .. "/fork.so", "spec_fork"))
      io.stdout:setvbuf "no"
      local kafka = { ["bootstrap.servers"] = arg[1] }
      local producer = assert(strand.producer { kafka = kafka })
      local admin = assert(strand.admin { kafka = kafka })
      local mock = assert(strand.mock { brokers = 1 })
      local consumer = assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = arg[1], ["group.id"] = arg[2] }, topics = { arg[3] },
        workers = 2, handler = "spec.handlers.actor", handler_args = arg[4] })
      assert(consumer:start())
      local function exists(name)
        local file = io.open(arg[4] .. "/" .. name)
        if file then file:close() end
        return file
      end
      while not exists "now" do consumer:step(0.01) end

      if not fork(true) then
        local function check(object, names)
          for name in names:gmatch "%S+" do
            local value, message, code = object[name](object)
            assert(value == nil and code == "FORKED" and type(message) == "string", name)
          end
        end
        check(consumer, "run start stop step fd close commit seek pause resume assignment "
          .. "blockers health stats configure report")
        check(producer, "send send_wait flush poll fd stats close")
        check(admin, "create_topics delete_topics create_partitions describe groups lag "
          .. "alter_config group_offsets reset_offsets delete_group_offsets list_offsets read "
          .. "delete_records close")
        check(mock, "down up close")
        consumer, producer, admin, mock = nil, nil, nil, nil
        collectgarbage()
        collectgarbage()
        print "forked: all refused"
        os.exit(0, true)
      end

      while consumer:stats().done < 2 do consumer:step(0.01) end
      assert(producer:send_wait { topic = arg[3], key = "c" })
      while consumer:stats().done < 3 do consumer:step(0.01) end
      local report = assert(consumer:close())
      print(("parent: done %d"):format(report.done))
      producer:close()
    ]], helper.bootstrap(), helper.name "group", topic, folder)
    helper.eventually(20, function() return fixture.count(folder, "enter", 1) == 1 end)
    fixture.release(folder, "now")
    child:says("forked: all refused", 10)
    fixture.release(folder, "g")
    child:says("parent: done 3", 10)
    assert.equal(0, child:wait(10), child:errors())
  end)
end)
