-- The test kit: the same handlers, and the same table of outcomes, as on a
-- consumer with workers (spec/outcomes_spec.lua), without a broker.
local rows = require "spec.support.outcomes"
local strand = require "strand"

local testing = strand.testing

local function raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(message))
end

describe("strand.testing.run", function()
  local KINDS = { skipped = "skip", dead_lettered = "dead_letter", parked = "park" }

  -- The kit's context is a table, its methods are functions of Lua.
  local OTHERS = { ["return the context's"] = true, ["error with the context"] = true }

  for _, row in ipairs(rows) do
    if not OTHERS[row[1]] then it("says what a worker would: " .. row[1]:sub(1, 60), function()
      local record = testing.record { value = row[1] }
      local result = testing.run("spec.handlers.outcomes", record)
      local kind = KINDS[row[2]] or row[2]
      if row[1]:find " retry" and kind == "failed" and not row[1]:find "^drop"
        and not row[1]:find "^keep" and not row[1]:find " copy " then kind = "retry" end
      assert.equal(kind, result.kind)
      if row[3] then assert.matches(row[3], result.reason) end
      if row[3] == false then assert.is_nil(result.reason) end
      if kind == "retry" then assert.equal(0.01, result.delay) else assert.is_nil(result.delay) end
    end) end
  end

  it("has each record of a batch end by itself", function()
    local batch = {}
    for i = 1, 4 do batch[i] = testing.record { key = "k" .. i, offset = i } end
    local seen
    local results = testing.run(function(records)
      seen = #records .. records[4].key
      records:skip(1, "known")
      records:retry(2, 5)
      records:fail(2, "after all")
      error "the rest"
    end, batch)
    assert.equal("4k4", seen)
    assert.equal(4, #results)
    assert.same({ "skip", "known" }, { results[1].kind, results[1].reason })
    assert.same({ "failed", "after all" }, { results[2].kind, results[2].reason })
    assert.equal("failed", results[3].kind)
    assert.matches("the rest", results[4].reason)
  end)

  it("ends the handler's records with the call, and not the test's", function()
    local record, kept = testing.record { key = "k" }, nil
    assert.equal("done", testing.run(function(given) kept = given end, record).kind)
    raises("record used after its handler returned", function() return kept.key end)
    assert.equal("k", record.key)
    local batch
    testing.run(function(given) batch = given end, { record })
    raises("batch used after its handler returned", function() batch:skip(1) end)
    kept, batch = nil, nil
    collectgarbage()
    collectgarbage()
    assert.equal("done", testing.run(function() end, record).kind)
  end)

  it("sees an outcome that was dropped in a call within a call", function()
    local inner
    local outer = testing.run(function(_, context)
      context:skip()
      inner = testing.run(function() strand.park() end, testing.record())
    end, testing.record())
    assert.equal("park() was called but not returned", inner.reason)
    assert.equal("skip() was called but not returned", outer.reason)
    strand.park() -- nobody watches any more
  end)

  it("sets a module up once, and again with other args", function()
    local calls = {}
    local module = {
      setup = function(args) calls[#calls + 1] = "setup " .. args end,
      handle = function(_, context) calls[#calls + 1] = "handle " .. context.args end,
      teardown = function() calls[#calls + 1] = "teardown" end,
    }
    local record = testing.record()
    local one, two = testing.context { args = "a" }, testing.context { args = "b" }
    testing.run(module, record, one)
    testing.run(module, record, one)
    testing.run(module, record, two)
    assert.same({ "setup a", "handle a", "handle a", "teardown", "setup b", "handle b" }, calls)
  end)

  it("passes on that the consumer is to stop", function()
    local function stop(_, context) context:stop_consumer() end
    local context = testing.context()
    assert.is_true(testing.run(stop, testing.record(), context).stop_consumer)
    assert.is_false(testing.run(function() end, testing.record(), context).stop_consumer)
  end)

  it("refuses what is no handler, record or context", function()
    local record = testing.record()
    raises("argument 'handler': function, module or its name expected, got 3",
      testing.run, 3, record)
    raises("the module is a table without a function 'handle'", testing.run, {}, record)
    raises("'handle_batch', which takes a list", testing.run, { handle_batch = print }, record)
    raises("setup failed: no key", testing.run,
      { handle = print, setup = function() return nil, "no key" end }, record)
    raises("'setup' of the module is a number", testing.run,
      { handle = print, setup = 7 }, record)
    raises("argument 'record': a record of strand.testing.record", testing.run, print, {})
    raises("argument 'record': a record of strand.testing.record", testing.run, print, { key = "k" })
    raises("records of strand.testing.record expected", testing.run, print, { record, io.stdout })
    for _, list in ipairs { { record, last = record }, { record, nil, record } } do
      raises("argument 'record': a list of records without holes expected, got a mixed one",
        testing.run, print, list)
    end
    raises("argument 'context': a context of strand.testing.context", testing.run, print, record, {})
    testing.run(function(given)
      raises("records of strand.testing.record expected", testing.run, print, given)
    end, record)
  end)
end)

describe("strand.testing.record", function()
  it("has what a record of a broker has", function()
    local record = testing.record { topic = "orders", partition = 3, offset = 7, key = "k",
      value = "", headers = { { "a", "1" }, { "a", "2" }, { "b" } }, timestamp = 1700000000.123,
      timestamp_type = "append", attempt = 4, leader_epoch = 9 }
    local copy = record:copy()
    for _, each in ipairs { record, copy } do
      assert.equal("orders/3/7", each.id)
      assert.equal("orders", each.topic)
      assert.equal(3, each.partition)
      assert.equal(7, each.offset)
      assert.equal("k", each.key)
      assert.equal("", each.value)
      assert.same({ { "a", "1" }, { "a", "2" }, { "b" } }, each.headers)
      assert.equal(1700000000.123, each.timestamp)
      assert.equal("append", each.timestamp_type)
      assert.equal(4, each.attempt)
      assert.equal(9, each.leader_epoch)
    end
    assert.equal("2", record:header "a")
    assert.is_nil(record:header "b")
    assert.equal("strand.Record (orders/3/7)", tostring(record))
    raises("a record cannot be changed", function() record.key = "x" end)
  end)

  it("is a record of nothing when nothing is said", function()
    local record = testing.record()
    assert.equal("topic/0/0", record.id)
    assert.equal(1, record.attempt)
    for _, name in ipairs { "key", "value", "timestamp", "timestamp_type", "leader_epoch" } do
      assert.is_nil(record[name])
    end
    assert.same({}, record.headers)
  end)

  it("takes bytes of any kind and length", function()
    local bytes = ("\0\255"):rep(200000)
    local record = testing.record { key = bytes, value = bytes, headers = { x = bytes } }
    assert.is_true(record.key == bytes and record.value == bytes and record:header "x" == bytes)
  end)

  it("refuses what is none, with the name", function()
    for field, wrong in pairs { topic = "a/b", partition = -1, offset = 0.5, key = 7, value = true,
      headers = "x", timestamp = "now", timestamp_type = "new", attempt = 0, leader_epoch = -2 } do
      raises("option '" .. field .. "'", testing.record, { [field] = wrong })
    end
    raises("unknown option 'vlaue' %(did you mean 'value'%?%)", testing.record, { vlaue = "x" })
  end)
end)

describe("strand.testing.context", function()
  it("is what a handler gets", function()
    local context = testing.context { args = { a = 1 }, worker = 3, remaining = 2.5 }
    assert.equal(1, context.args.a)
    assert.equal(3, context.worker)
    assert.equal(2.5, context:remaining())
    assert.is_nil(testing.context():remaining())
    assert.matches("retry", tostring(context:retry(1)))
    raises("the context cannot be changed", function() context.worker = 1 end)
    raises("retry is a method: call it with a colon", context.retry, 5)
    raises("context:sleep%(%) is not of strand.testing.run", context.sleep, context)
  end)
end)

describe("what a handler produces in a test", function()
  local record = testing.record { key = "k", value = "v" }
  local function run(handler, subject) return testing.run(handler, subject or record) end

  it("is in the result, in order, as it was given", function()
    local result = run(function(r, context)
      context:produce { topic = "a", key = r.key, value = r.value, partition = 3, timestamp = 1.5,
        headers = { { "b", "1" }, { "b" } } }
      context:produce { topic = "b", partition_key = "p" }
    end)
    assert.same({ { topic = "a", key = "k", value = "v", partition = 3, timestamp = 1.5,
      headers = { { "b", "1" }, { "b" } } }, { topic = "b", partition_key = "p" } }, result.produced)
  end)

  it("is nothing unless the record is done", function()
    local function ends(outcome)
      return run(function(_, context)
        context:produce { topic = "a" }
        return outcome(context)
      end).produced
    end
    assert.same({}, ends(function() error "no" end))
    assert.same({}, ends(function(context) return context:skip() end))
    assert.same({ { topic = "a" } }, ends(function() end))
  end)

  it("belongs, in a batch, to its record", function()
    local results = run(function(batch)
      batch:produce(2, { topic = "b", value = "2" })
      batch:produce(1, { topic = "b", value = "1" })
      batch:produce(2, { topic = "b", value = "3" })
      batch:fail(1, "no")
    end, { record, testing.record {} })
    assert.same({}, results[1].produced)
    assert.same({ { topic = "b", value = "2" }, { topic = "b", value = "3" } }, results[2].produced)
  end)

  it("is checked by the rules of producer:send", function()
    local result = run(function(_, context) context:produce { topic = "a", vlaue = "v" } end)
    assert.equal("failed", result.kind)
    assert.matches("unknown option 'vlaue' %(did you mean 'value'%?%)", result.reason)
    result = run(function(batch, context) context:produce { topic = batch[1].topic } end, { record })
    assert.matches("each output belongs to a record", result[1].reason)
    result = run(function(batch) batch:produce(2, { topic = "a" }) end, { record })
    assert.matches("the number of a record expected, 1 to 1", result[1].reason)
    assert.has_error(function() testing.context():produce { topic = "a" } end)
  end)
end)

it("the record outlives what made it", function()
  local records = {}
  for i = 1, 200 do records[i] = testing.record { key = "k" .. i } end
  for i = 1, 200, 2 do records[i] = nil end
  collectgarbage()
  for i = 2, 200, 2 do assert.equal("k" .. i, records[i].key) end
end)
