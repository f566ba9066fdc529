-- Without on_event nothing fails in silence: a typo in a handler once failed
-- 7,584 times without a line, health true.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

describe("a consumer without on_event", function()
  setup(fixture.open)
  teardown(fixture.close)

  local function open(options, records)
    local topic, lines = helper.topic(1), {}
    fixture.produce(topic, records)
    options.topics = { topic }
    if options.log == nil then
      options.log = function(level, _, message)
        if level == 4 then lines[#lines + 1] = message end
      end
    end
    options.retry = options.retry or { attempts = 2, delay = 0.01, jitter = 0 }
    options.workers = 2
    local consumer = fixture.consumer(options) -- without an on_event of its own
    assert(consumer:start())
    return consumer, lines, topic
  end

  local function many(count)
    local records = {}
    for i = 1, count do records[i] = { key = "k" .. i, value = tostring(i) } end
    return records
  end

  local function count(lines, pattern)
    local n = 0
    for _, line in ipairs(lines) do
      if line:find(pattern) then n = n + 1 end
    end
    return n
  end

  it("warns of failures, one a second for those alike, with a count", function()
    local consumer, lines, topic = open({
      handler = function(record) error("no route to " .. record.offset, 0) end }, many(300))
    helper.eventually(30, function() return consumer:stats().parked == 300 end, consumer)
    helper.eventually(10, function() return count(lines, "more like it") >= 2 end, consumer)
    assert(consumer:close())
    local all = table.concat(lines, "\n")
    topic = topic:gsub("%-", "%%-")
    assert.matches("record_failed " .. topic .. "/0/%d+ key \"k%d+\" attempt 1, again in 0.01 s: "
      .. "no route to %d+", all)
    assert.matches("parked " .. topic .. "/0/%d+ key \"k%d+\" attempt 2: no route to %d+", all)
    -- 600 failures and 300 parked records, of two kinds, in a few seconds
    assert.is_true(count(lines, "record_failed") <= 20, all)
    assert.is_true(count(lines, "parked") <= 20, all)
    -- and none is left out of the counts
    for kind, total in pairs { record_failed = 600, parked = 300 } do
      local said = 0
      for _, line in ipairs(lines) do
        if line:find("^" .. kind) then
          said = said + 1 + tonumber(line:match "and (%d+) more like it" or 0)
        end
      end
      assert.equal(total, said, all)
    end
  end)

  -- Once that was 1,733 threads, and no word.
  for _, what in ipairs { "producer", "admin" } do
    it("warns once of handlers that open a strand." .. what .. " in each call", function()
      local consumer, lines = open({
        handler_args = { what = what, servers = helper.bootstrap() },
        handler = "spec.handlers.opening" }, many(40))
      helper.eventually(30, function() return consumer:stats().done == 40 end, consumer)
      assert(consumer:close())
      assert.equal(1, #lines, table.concat(lines, "\n"))
      assert.matches("a handler opens one strand." .. what .. " after another (8 in this worker)",
        lines[1], 1, true)
    end)
  end

  it("does not warn of those that a handler opens once", function()
    local consumer, lines = open({
      handler_args = { what = "producer", once = true, servers = helper.bootstrap() },
      handler = "spec.handlers.opening" }, many(40))
    helper.eventually(30, function() return consumer:stats().done == 40 end, consumer)
    assert(consumer:close())
    assert.same({}, lines)
  end)

  it("with log = false says nothing, and with on_event leaves it to that", function()
    local lines = {}
    local silent = open({ log = false, handler = function() error "x" end }, many(3))
    local events = {}
    local told = open({ handler = function() error "x" end,
      on_event = function(event) events[#events + 1] = event.type end,
      log = function(_, _, message) lines[#lines + 1] = message end }, many(3))
    helper.eventually(30, function()
      return silent:stats().parked == 3 and told:stats().parked == 3
    end, silent, told)
    assert(silent:close())
    assert(told:close())
    assert.equal(0, count(lines, "record_failed"))
    assert.equal(3, count(events, "parked"))
  end)

  it("writes them to stderr where nobody takes the log, also unstepped", function()
    local topic = helper.topic(1)
    fixture.produce(topic, many(1))
    local child = helper.spawn([[
      local strand = require "strand"
      local consumer = assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = arg[1], ["group.id"] = arg[2],
          ["session.timeout.ms"] = 6000 },
        topics = { arg[3] }, workers = 1, handler = function(record) recrod.x = 1 end })
      assert(consumer:start())
      require "strand.core".wait({}, 60) -- nobody steps it
    ]], helper.bootstrap(), helper.name "group", topic)
    helper.eventually(30, function()
      assert.is_nil(child:status(), child:errors())
      return child:errors():find("strand warning: record_failed " .. topic .. "/0/0", 1, true)
    end)
    helper.end_children()
  end)
end)

-- health() is for who may restart the process or take it out of service. That helps against none of
-- these failures, which are events, lines in the log, and counts.
describe("a consumer whose every record fails", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is well, and says how many have failed, in each delivery", function()
    local list, failed = {}, {}
    for i, delivery in ipairs { "at_least_once", "at_most_once", "exactly_once" } do
      local topic, records = helper.topic(1), {}
      for n = 1, 30 do records[n] = { key = "k" .. n } end
      fixture.produce(topic, records)
      local exactly = delivery == "exactly_once"
      failed[i] = 0
      list[i] = fixture.consumer { topics = { topic }, delivery = delivery,
        transactional_id = exactly and helper.name "id" or nil,
        retry = i ~= 2 and { attempts = 60000, delay = 0.01, factor = 1 } or nil,
        handler = function(record) recrod.x = 1 end, -- luacheck: ignore
        on_event = function(event)
          if event.type == "record_failed" then failed[i] = failed[i] + 1 end
        end }
    end
    fixture.start((table.unpack or unpack)(list))
    for i, enough in ipairs { 200, 30, 200 } do
      helper.eventually(30, function()
        for _, consumer in ipairs(list) do assert.is_true(consumer:health()) end
        return failed[i] >= enough and list[i]:stats().failed >= enough
      end, (table.unpack or unpack)(list))
      assert.equal(0, list[i]:stats().done)
    end
  end)
end)

-- Twenty records once failed without a line: flush and close had their answer.
describe("a producer without on_delivery", function()
  setup(fixture.open)
  teardown(fixture.close)

  local function open(bootstrap, options)
    local lines = {}
    options = options or {}
    options.kafka = { ["bootstrap.servers"] = bootstrap,
      ["message.timeout.ms"] = options.timeout_ms or 20000 }
    options.timeout_ms = nil
    options.log = function(level, _, message)
      if level == 4 then lines[#lines + 1] = message end
    end
    return assert(strand.producer(options)), lines
  end

  it("warns of records that failed, one a second for those alike, with a count", function()
    local producer, lines = open("127.0.0.1:1", { timeout_ms = 1000 })
    for i = 1, 20 do assert(producer:send { topic = "t", partition = 0, key = "k" .. i }) end
    assert.is_true(producer:flush(20))
    assert.equal(20, assert(producer:close()).failed)
    local text = table.concat(lines, "\n")
    assert.matches("not_delivered t/0 key \"k1\": Local: Message timed out", text, 1, true)
    local said, count = select(2, text:gsub("not_delivered", "")), 0
    for more in text:gmatch "%(and (%d+) more like it%)" do count = count + tonumber(more) end
    assert.equal(20, said + count, text)
    assert.is_true(said <= 3, text) -- two, if all have failed in one moment
  end)

  it("warns of what its close gave up", function()
    local producer, lines = open "127.0.0.1:1"
    for _ = 1, 3 do assert(producer:send { topic = "t" }) end
    assert.equal(3, producer:close { timeout = 0.01 }.purged)
    assert.matches("3 records were not delivered", table.concat(lines, "\n"), 1, true)
  end)

  it("with on_delivery leaves it to that", function()
    local reports = 0
    local producer, lines = open(helper.bootstrap(), {
      on_delivery = function(report) reports = reports + (report.code and 1 or 0) end })
    assert(producer:send { topic = helper.topic(1), partition = 99 })
    assert.is_true(producer:flush(20))
    producer:close()
    assert.equal(1, reports)
    assert.same({}, lines)
  end)
end)
