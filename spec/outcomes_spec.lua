-- The table of outcomes, row by row: what a handler returns or throws, and what
-- becomes of its record, under each ordering, with and without a dead letter
-- topic, and by each route's own retry; in worker threads, in local mode without
-- a loop and in each, and in workers that have an event loop.
-- What reasons look like in detail: spec/handler_spec.lua.
local adapter = require "strand.loop.adapter"
local helper = require "spec.support.helper"
local rows = require "spec.support.outcomes"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

local function key_of(row) return row[1]:sub(1, 60) end -- events cut longer ones

-- What counts a record at last, by how its row ends.
local COUNTS = { done = "done", failed = "done", skipped = "skipped",
  dead_lettered = "dead_lettered", parked = "parked" }

-- Its handler yields for nobody, and is found when it is collected.
local function is_collected(row, place)
  return place.collects and row[2] == "exhausted"
    and (row[1] == "yield" or adapter.yields_across_pcall)
end

-- How it ends where 'exhausted' and the dead letter topic are these.
local function ending_of(row, place)
  local ending = row[2]
  if is_collected(row, place) then return "failed", 1 end
  if ending == "exhausted" then return place.exhausted, 1 end
  if ending == "dead_lettered" and not place.letters then return "parked", 0 end
  return ending, ending == "failed" and 1 or 0
end

local function describe_outcomes(mode, way)
  describe("an outcome " .. mode, function()
    local places, letters = {}, nil

    local function open(name, place, options)
      place.topic, place.events = helper.topic(place.partitions or 1), {}
      place.collects = way.mode and way.mode.collects
      place.rows = place.rows or rows
      local records = {}
      for i, row in ipairs(place.rows) do
        records[i] = { key = key_of(row), value = row[1],
          partition = place.partitions and i - 1 or nil }
      end
      fixture.produce(place.topic, records)
      places[name] = place
      options.workers, options.loop = way.workers, way.loop
      options.topics, options.handler = { place.topic }, options.handler or "spec.handlers.outcomes"
      options.retry = options.retry or { attempts = 2, delay = 0.01 }
      options.slow_after = false -- on a busy machine any may be slow
      if place.letters then options.dead_letter = { topic = letters } end
      options.on_event = function(event)
        if event.key then
          place.events[event.key] = place.events[event.key] or {}
          table.insert(place.events[event.key], event)
        end
      end
      place.consumer = fixture.consumer(options)
      return place.consumer
    end

    -- One record, by which the consumer ends.
    local function open_stop(name, value, options)
      return open(name, { rows = { { value, "stop" } } }, options or {})
    end

    local function finish(place)
      place.expected = { done = 0, failed = 0, skipped = 0, dead_lettered = 0, parked = 0 }
      for _, row in ipairs(place.rows) do
        local ending, failures = ending_of(row, place)
        local count = COUNTS[ending]
        place.expected[count] = place.expected[count] + 1
        place.expected.failed = place.expected.failed + failures
      end
      helper.eventually(30, function()
        if place.collects then collectgarbage() end
        local stats = place.consumer:stats()
        for field, count in pairs(place.expected) do
          if stats[field] ~= count then return false end
        end
        return true
      end, place.consumer)
      place.report = assert(place.consumer:close())
    end

    setup(function()
      fixture.open(way.mode)
      letters = helper.topic(1)
      fixture.start(
        open("key", { letters = true, exhausted = "dead_lettered" }, { ordering = "key" }),
        open("partition", { letters = true, exhausted = "dead_lettered", partitions = #rows },
          { ordering = "partition" }),
        open("unordered", { letters = true, exhausted = "skipped" },
          { ordering = "unordered", exhausted = "skip" }),
        open("no dead letter topic", { exhausted = "parked" }, {}))
      for _, consumer in ipairs {
        open_stop("returned", "return strand stop enough is enough"),
        open_stop("thrown", "throw context stop enough is enough"),
        open_stop("without a reason", "return context stop"),
        open_stop("as an exhausted policy", "always",
          { exhausted = "stop", retry = { attempts = 3, delay = 0.01 } }),
      } do assert(consumer:start()) end
    end)
    teardown(fixture.close)

    local function kinds(events)
      local list = {}
      for i, event in ipairs(events or {}) do list[i] = event.type end
      return list
    end

    local function check_row(row, place)
      local ending, failures = ending_of(row, place)
      local events, expected = place.events[key_of(row)], {}
      for i = 1, failures do expected[i] = "record_failed" end
      if ending == "parked" or ending == "dead_lettered" then expected[#expected + 1] = ending end
      assert.same(expected, kinds(events))
      if not events then return end
      assert.equal(1, events[1].attempt)
      if events[1].type == "dead_lettered" then return end -- the letter has its reason
      local reason, wanted = events[1].reason, way.coroutines and row[4] or row[3]
      if is_collected(row, place) then wanted = "^handler was dropped$" end
      if ending ~= row[2] and row[2] == "dead_lettered" then
        reason = reason:match "^no dead letter topic:? ?(.*)$"
        if row[3] == false then assert.equal("", reason) end
      elseif row[3] == false then assert.is_nil(reason) end
      if wanted then assert.matches(wanted, reason) end
    end

    for _, name in ipairs { "key", "partition", "unordered", "no dead letter topic" } do
      describe("(" .. name .. ")", function()
        setup(function() finish(places[name]) end)

        for _, row in ipairs(rows) do
          it("is told as it is: " .. key_of(row), function() check_row(row, places[name]) end)
        end

        it("is counted", function()
          local place = places[name]
          local got = {}
          for field in pairs(place.expected) do got[field] = place.report[field] end
          assert.same(place.expected, got)
          assert.equal(place.expected.parked, place.report.unfinished_total)
          for _, left in ipairs(place.report.unfinished) do assert.equal("parked", left.state) end
        end)
      end)
    end

    for name, message in pairs {
      ["returned"] = "enough is enough", ["thrown"] = "enough is enough",
      ["without a reason"] = "stopped by a handler at %s/0/0",
      ["as an exhausted policy"] = "%s/0/0 was given up after attempt 3: attempt 3",
    } do
      it("ends the consumer, and its record is not done: stop " .. name, function()
        local consumer = places[name].consumer
        local is_open = consumer.core:state() ~= "closed" -- who waits for others serves it as well
        local report, reason, code, last = consumer[is_open and "run" or "close"](consumer)
        assert.is_nil(report)
        assert.equal(message:format(places[name].topic), reason:match "^[^\n]*")
        assert.equal("STOPPED_BY_HANDLER", code)
        assert.equal(0, last.done)
        assert.equal(1, last.unfinished_total)
        assert.equal(name == "as an exhausted policy" and 3 or 0, last.failed)
      end)
    end
  end)
end

-- The handler's own doing is the same everywhere; what exhausts is the route's.
local function describe_routes(mode, way)
  describe("a route " .. mode, function()
    local consumer, report
    local topics, events, problems, sent = {}, {}, {}, 0

    setup(function()
      fixture.open(way.mode)
      local letters = helper.topic(1)
      for _, name in ipairs { "plain", "skip", "letter", "ask", "broken" } do
        topics[name] = helper.topic(1)
        local records = { { key = name .. " always", value = "always" },
          { key = name .. " often", value = "often 5" } }
        for _, row in ipairs(rows) do
          if row[2] ~= "failed" and row[2] ~= "exhausted" then
            records[#records + 1] = { key = name .. " " .. key_of(row), value = row[1] }
          end
        end
        fixture.produce(topics[name], records)
        sent = sent + #records
      end
      local module = "spec.handlers.outcomes"
      consumer = fixture.start(fixture.consumer {
        workers = way.workers, loop = way.loop,
        topics = { topics.plain, topics.skip, topics.letter, topics.ask, topics.broken },
        retry = { attempts = 2, delay = 0.01 }, exhausted = "park", dead_letter = { topic = letters },
        on_event = function(event)
          if event.type == "policy_failed" then problems[#problems + 1] = event end
          if not event.key then return end
          events[event.key] = events[event.key] or {}
          table.insert(events[event.key], event)
        end,
        handler = {
          [topics.plain] = module,
          [topics.skip] = { module, retry = { attempts = 1 }, exhausted = "skip" },
          [topics.letter] = { module, retry = { attempts = 3, delay = 0.01 },
            exhausted = "dead_letter" },
          [topics.ask] = { module, retry = function(attempt, reason, record)
            assert(record.attempt == attempt and type(reason) == "string")
            if attempt < 4 then return 0.01 end
          end },
          [topics.broken] = { module, exhausted = "skip",
            retry = function(attempt) return attempt < 10 and 0.001 or {} end },
        },
      })
      helper.eventually(30, function()
        local stats = consumer:stats()
        return stats.done + stats.skipped + stats.dead_lettered + stats.parked == sent
      end, consumer)
      report = assert(consumer:close())
    end)
    teardown(fixture.close)

    local function failures(key)
      local count, last = 0, nil
      for _, event in ipairs(events[key] or {}) do
        if event.type == "record_failed" then count = count + 1
        elseif event.type ~= "policy_failed" then last = event.type end
      end
      return { count, last }
    end

    it("exhausts by its own policy, or the consumer's", function()
      assert.same({ 2, "parked" }, failures "plain always")
      assert.same({ 1 }, failures "skip always")
      assert.same({ 3, "dead_lettered" }, failures "letter always")
    end)

    it("is exhausted when its function says nil, however the handler failed", function()
      assert.same({ 4, "parked" }, failures "ask always")
      assert.same({ 4, "parked" }, failures "ask often")
    end)

    it("never exhausts by retry() under a policy that is a table", function()
      for _, name in ipairs { "plain", "skip", "letter" } do
        assert.same({ 5 }, failures(name .. " often"))
      end
    end)

    it("falls back on the default's ten attempts when its function fails", function()
      assert.same({ 10 }, failures "broken always")
      assert.equal(1, #problems)
      assert.equal(topics.broken, problems[1].topic)
      assert.same({ "broken always", 10 }, { problems[1].key, problems[1].attempt })
      assert.matches("returned .*table.*: seconds expected, from 0 to 316224000 %(ten years%), or nil",
        problems[1].reason)
    end)

    it("does with an outcome what the consumer does", function()
      for name in pairs(topics) do
        for _, row in ipairs(rows) do
          local key = name .. " " .. key_of(row)
          if row[2] == "parked" or row[2] == "dead_lettered" then
            assert.same({ 0, row[2] }, failures(key))
          elseif row[2] ~= "failed" and row[2] ~= "exhausted" then
            assert.same({ 0 }, failures(key))
          end
        end
      end
      -- By each route so many, and what was exhausted.
      assert.equal(5 * 8 + 2, report.skipped)
      assert.equal(5 * 9 + 1, report.dead_lettered)
      assert.equal(5 * 8 + 3, report.parked)
    end)
  end)
end

for name, way in pairs {
  threads = { title = "in worker threads", workers = 4 },
  ["local"] = { title = "in local mode", workers = 0, coroutines = true },
  async = { title = "in async workers", workers = 2, loop = "cqueues", coroutines = true },
  cqueues = { title = "in the loop of cqueues", workers = 0, coroutines = true },
  luv = { title = "in the loop of luv", workers = 0, coroutines = true },
  plain = { title = "in the plain loop", workers = 0, coroutines = true },
} do
  way.mode = way.workers == 0 and modes.of(name) or nil
  if modes.chosen "threads local async cqueues"[name] then
    describe_outcomes(way.title, way)
    describe_routes(way.title, way)
  end
end
