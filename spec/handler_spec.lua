-- What a handler in a worker thread may do, and what becomes of its record.
-- spec/handlers/behaviour.lua has the handlers: a record's header "case" says
-- what is done with it.
local helper = require "spec.support.helper"
local strand = require "strand"

local function open(options)
  options.kafka = { ["bootstrap.servers"] = helper.bootstrap(), ["group.id"] = helper.name "group" }
  return assert(strand.consumer(options))
end

local function produce(topic, records)
  local producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
  for _, record in ipairs(records) do
    record.topic = topic
    assert(producer:send(record))
  end
  assert(producer:flush(10))
  producer:close()
end

-- A case, what its reason must hold, and in what else the record differs. All
-- are done at last, but those that are exhausted: they are parked.
local DONE = false
local cases = {
  { "nothing", DONE }, { "nil alone", DONE }, { "true", DONE }, { "a number", DONE },
  { "a table", DONE },

  { "false", "the handler returned false" }, { "false and a reason", "shut" },
  { "nil and a reason", "no rows" }, { "a number as reason", "12.5" },
  { "an object as reason", "an object" },

  { "error with text", "behaviour.lua:%d+: exploded\nstack traceback:\n" },
  { "error without place", "^exploded\nstack traceback:\n" },
  { "error nil", "^nil\nstack traceback:\n" }, { "error false", "^false\nstack traceback:\n" },
  { "error table", "^%(table value without __tostring%)\nstack traceback:\n" },
  { "error object", "^an object\nstack traceback:\n" },
  { "error with a broken __tostring", "^%(table value with a broken __tostring%)\n" },
  { "error with a __tostring that gives no text", "^%(table value with a broken __tostring%)\n" },
  { "a long error", "^[\195\164]+\nstack traceback:\n" },
  { "zero bytes", "^a" },
  { "a mistake", "behaviour.lua:%d+: attempt to index" },
  { "deep", "at the bottom\nstack traceback:.*behaviour.lua:%d+.*behaviour.lua:%d+.*behaviour.lua" },

  { "return retry", "^return later$", delay = 0.02 },
  { "throw retry", "^throw later$", delay = 0.02 },
  { "retry at once", nil, delay = 0 },
  { "strand.retry", "^without context$", delay = 0.02 },
  { "retry as reason", "^second$", delay = 0.02 },
  { "retry in a coroutine", "^from inside$", delay = 0.02 },
  { "retry made before", "^used twice$", delay = 0.02, attempts = 3 },
  { "__tostring of something else", "call it with a colon.*call it with a colon" },
  { "__index of something else", "^6 and none$" },
  { "retry dropped", "^retry%(%) was called but not returned$" },
  { "retry caught", "^retry%(%) was called but not returned$" },
  { "stop dropped", "^stop%(%) was called but not returned$" },
  { "wrong arguments", "seconds expected.*seconds expected.*seconds expected.*string expected"
    .. ".*call it with a colon.*call it with a colon" },

  { "yield", "^a handler in a worker thread cannot yield %(use workers = 0%): .*attempt to yield", exhausted = true },
  { "yield in a coroutine", "^halfway$" },
  { "os.exit", "os.exit%(%) in a worker" },
  { "later outcomes", "context:sleep%(%) is for handlers with workers = 0 or the option 'loop'" },
  { "producing without a producer", "context:produce%(%) needs the option 'producer'" },

  { "fields", "^%1/0/%d+|%1|0|%d+|the key|the value|create|1|nil$",
    key = "the key", value = "the value" },
  { "zero bytes in a record", "^3 4a0bc0de$", key = "a\0b", value = "c\0de" },
  { "absent", "^nil nil$" }, { "empty", '^"" ""$', key = "", value = "" },
  { "timestamp", "^1700000000.123$", timestamp = 1700000000.123 },
  { "headers", '^case="headers" twice="1" none=nil twice="2" empty="" '
    .. 'twice:"2" none:nil empty:"" missing:nil$',
    headers = { { "twice", "1" }, { "none" }, { "twice", "2" }, { "empty", "" } } },
  { "once", "^the same$", key = "k" },
  { "changing a record", "a record cannot be changed" },
  { "not a record", "record:header%(%) is a method: call it with a colon" },
  { "tostring", "^strand.Record %(%1/0/%d+%) false$" },
  { "keep", "^kept$", key = "k", attempts = 3,
    second = "false .*record used after its handler returned; "
      .. "false .*record used after its handler returned; "
      .. "strand.Record %(its handler has returned%); k case %1/0/%d+" },

  { "context", "^worker 1, b$" },
  { "changing the context", "the context cannot be changed" },
  { "one context", "^first$", second = "^true$", attempts = 3 },

  { "policy soon", "policy soon", delay = 0.03 },
  { "policy asked", "policy soon", delay = 0.03 },
  { "policy nil", "policy nil", exhausted = true },
  { "policy infinite", "policy infinite", problem = "returned .*inf.*seconds expected" },
  { "policy beyond", "policy beyond", problem = "returned 1e%+308: .*from 0 to 316224000 %(ten" },
  { "policy outcome", "policy outcome", problem = "the retry function failed: it raised an" },
  { "policy negative", "policy negative", problem = "returned %-1.*seconds expected" },
  { "policy nan", "policy nan", problem = "returned .*nan.*seconds expected" },
  { "policy text", "policy text", problem = "returned a string: seconds expected" },
  { "policy error", "policy error", problem = "the retry function failed: .*no idea" },
}

local function record_of(case)
  local headers = { { "case", case[1] } }
  for _, header in ipairs(case.headers or {}) do headers[#headers + 1] = header end
  return { key = case.key, value = case.value, headers = headers, timestamp = case.timestamp }
end

local exhausted = 0
for _, case in ipairs(cases) do
  if case.exhausted then exhausted = exhausted + 1 end
end

describe("a handler in a worker", function()
  local topic, folder, report
  local failures, problems = {}, {} -- lists by offset

  local function on_event(event)
    local list = event.type == "record_failed" and failures
      or event.type == "policy_failed" and problems
    if not list then return end
    list[event.offset] = list[event.offset] or {}
    table.insert(list[event.offset], event)
  end

  setup(function()
    topic, folder = helper.topic(1), helper.folder()
    local records = {}
    for i, case in ipairs(cases) do records[i] = record_of(case) end
    produce(topic, records)
    local consumer = open {
      topics = { topic }, workers = 1, ordering = "unordered", on_event = on_event,
      handler = "spec.handlers.behaviour", handler_args = { folder = folder, list = { "a", "b" } },
      retry = function(_, reason, record)
        if reason == "policy nil" then return nil end
        if reason == "policy negative" then return -1 end
        if reason == "policy nan" then return 0 / 0 end
        if reason == "policy infinite" then return 1 / 0 end
        if reason == "policy beyond" then return 1e308 end
        if reason == "policy outcome" then error(require "strand".skip()) end
        if reason == "policy text" then return "0.5" end
        if reason == "policy error" then error("no idea what to do with " .. record.id) end
        return reason == "policy soon" and 0.03 or 0.001
      end,
    }
    assert(consumer:start())
    helper.eventually(30, function() return consumer:stats().done == #cases - exhausted end,
      consumer)
    report = assert(consumer:close())
  end)
  teardown(helper.close_cluster)

  -- %1 in a pattern is the topic.
  local function matches(pattern, text)
    local plain = topic:gsub("%p", "%%%0")
    pattern = pattern:gsub("%%1", function() return plain end)
    assert.matches(pattern, text)
  end

  for i, case in ipairs(cases) do
    local name = case[1]
    if case[2] == DONE then
      it("is done: " .. name, function() assert.is_nil(failures[i - 1]) end)
    else
      it("fails with its reason: " .. name, function()
        local list = assert(failures[i - 1], "it did not fail")
        assert.equal((case.attempts or 2) - 1, #list)
        if case[2] then matches(case[2], list[1].reason) else assert.is_nil(list[1].reason) end
        if case.second then matches(case.second, list[2].reason) end
        if case.delay then assert.is_true(math.abs(list[1].delay - case.delay) < 1e-6) end
      end)
    end
  end

  it("fails with the bad answer of its retry function in an event", function()
    for i, case in ipairs(cases) do
      if case.problem then
        local event = assert(problems[i - 1], case[1])[1]
        assert.matches(case.problem, event.reason)
        -- By the policy's own numbers then: 1 s, less jitter.
        assert.is_true(failures[i - 1][1].delay >= 0.5)
      else
        assert.is_nil(problems[i - 1])
      end
    end
  end)

  it("keeps reasons short, and whole characters", function()
    for i, case in ipairs(cases) do
      if case[1] == "a long error" then
        local reason = failures[i - 1][1].reason
        assert.is_true(#reason <= 1024)
        assert.equal(0, #reason:match "^[\195\164]+" % 2)
      end
    end
  end)

  it("is set up once before the first record, and torn down after the last", function()
    assert.equal("setup a\nteardown\n", helper.read(folder .. "/notes"))
  end)

  it("is counted in the report", function()
    local failed = 0
    for _, list in pairs(failures) do failed = failed + #list end
    assert.equal(#cases - exhausted, report.done)
    assert.equal(failed, report.failed)
    assert.equal(exhausted, #report.unfinished)
  end)
end)

describe("the end, asked for by a handler", function()
  local topic

  setup(function()
    topic = helper.topic(1)
    produce(topic, { { value = "1" } })
  end)
  teardown(helper.close_cluster)

  it("comes with stop(), whose record is not done", function()
    local consumer = open { topics = { topic }, workers = 2,
      handler = function(_, context) return context:stop "enough is enough" end }
    local report, message, code, last = consumer:run()
    assert.is_nil(report)
    assert.equal("enough is enough", message)
    assert.equal("STOPPED_BY_HANDLER", code)
    assert.equal(0, last.done)
    assert.equal(1, #last.unfinished)
  end)

  it("comes with stop_consumer(), whose record is done", function()
    local consumer = open { topics = { topic }, workers = 2,
      handler = function(_, context) context:stop_consumer() end }
    local report = assert(consumer:run())
    assert.equal(1, report.done)
    assert.same({ { topic = topic, partition = 0, offset = 1 } }, report.committed)
  end)
end)

describe("routes", function()
  teardown(helper.close_cluster)

  it("have a handler and a retry policy each", function()
    local orders, stock = helper.topic(1), helper.topic(1)
    produce(orders, { { value = "o" } })
    produce(stock, { { value = "s" } })
    local reasons = {}
    local consumer = open { topics = { orders, stock }, workers = 2,
      on_event = function(event)
        if event.type == "record_failed" then reasons[event.topic] = event end
      end,
      handler = {
        [orders] = function(record) if record.attempt == 1 then return nil, "order" end end,
        ["^" .. stock:sub(1, -2)] = {
          function(record) if record.attempt == 1 then return nil, "stock" end end,
          retry = function(attempt, reason)
            return attempt == 1 and reason == "stock" and 0.07 or 5
          end,
        },
      },
      retry = { delay = 0.02, jitter = 0 },
    }
    assert(consumer:start())
    helper.eventually(20, function() return consumer:stats().done == 2 end, consumer)
    assert(consumer:close())
    assert.equal("order", reasons[orders].reason)
    assert.equal("stock", reasons[stock].reason)
    assert.is_true(math.abs(reasons[orders].delay - 0.02) < 1e-6)
    assert.is_true(math.abs(reasons[stock].delay - 0.07) < 1e-6)
  end)

  it("follow the consumer's retry when configure changes it", function()
    local topic = helper.topic(1)
    produce(topic, { { value = "1" } })
    local delays = {}
    local consumer = open { topics = { topic }, workers = 1,
      on_event = function(event)
        if event.type == "record_failed" then delays[#delays + 1] = event.delay end
      end,
      handler = function(record)
        if record.attempt < 100 then return nil, "no" end
      end,
      retry = { delay = 0.01, factor = 1, jitter = 0 },
    }
    assert(consumer:start())
    local function wait_for(delay)
      helper.eventually(20, function()
        return #delays > 0 and math.abs(delays[#delays] - delay) < 1e-6
      end, consumer)
    end
    wait_for(0.01)
    assert(consumer:configure { retry = function() return 0.02 end })
    wait_for(0.02)
    assert(consumer:configure { retry = { delay = 0.03, factor = 1, jitter = 0 } })
    wait_for(0.03)
    assert(consumer:close { mode = "now" })
  end)
end)

describe("a handler that does not load", function()
  teardown(helper.close_cluster)

  local modules = {
    missing = false,
    broken = "return return",
    number = "return 5",
    nothing = "local x = 1",
    no_handle = "return { handel = print }",
    batch = "return { handle_batch = print }",
    bad_setup = "return { handle = print, setup = 5 }",
    failing_setup = "return { handle = print, setup = function(a) error('no database ' .. a) end }",
    no_setup = "return { handle = print, setup = function() return nil, 'no key' end }",
    false_setup = "return { handle = print, setup = function() return false end }",
    exit = "os.exit(3)",
    outcome = "error(require 'strand'.stop())",
  }
  local wanted = {
    missing = "module '%1' not found",
    broken = "unexpected symbol", -- or near 'return'
    number = "returns a number; a function, or a table with 'handle', expected",
    nothing = "returns nothing, or a boolean; a function, or a table with 'handle', expected",
    no_handle = "is a table without a function 'handle'",
    batch = "has a 'handle_batch' and no 'handle', which is called without option 'batch'",
    bad_setup = "'setup' of the module is a number, function expected",
    failing_setup = "error in setup: .*no database 7; stack traceback:.*in function",
    no_setup = "setup failed: no key$",
    false_setup = "setup failed: it returned false$",
    exit = "os.exit%(%) in a worker",
    outcome = "strand.Outcome",
  }

  for name, text in pairs(modules) do
    it("is told before the group is joined: " .. name, function()
      local folder = helper.folder()
      local module = folder:gsub("/", ".") .. "." .. name
      if text then helper.write(folder .. "/" .. name .. ".lua", text) end
      local consumer = open { topics = { helper.name "absent" }, workers = 3, handler = module,
        handler_args = 7 }
      local seconds, ok, message, code = helper.seconds(consumer.start, consumer)
      assert.is_nil(ok)
      assert.equal("HANDLER", code)
      assert.matches("^handler '" .. module:gsub("%p", "%%%0") .. "': ", message)
      assert.matches((wanted[name]:gsub("%%1", (module:gsub("%p", "%%%%%0")))), message)
      assert.is_nil(message:find "[\n\t]")
      assert.is_true(seconds < 2 + helper.late)
    end)
  end

  it("raises at once where it is a function that would lose an upvalue", function()
    local lost = 1
    local ok, message = pcall(open, { topics = { "t" }, handler = function() return lost end })
    assert.is_false(ok)
    assert.matches("'lost'", message, 1, true)
  end)
end)

describe("require in workers", function()
  teardown(helper.close_cluster)

  it("loads one module at a time in the whole process", function()
    local folder = helper.folder()
    local list = {}
    for i = 1, 2 do
      list[i] = open { topics = { helper.name "absent" }, workers = 4,
        handler = "spec.handlers.locked", handler_args = { folder = folder } }
    end
    for _, consumer in ipairs(list) do assert(consumer:start()) end
    for _, consumer in ipairs(list) do consumer:close { mode = "now" } end
    local notes = helper.read(folder .. "/loading"):gsub("busy\n", "")
    assert.equal(("begin\nend\n"):rep(8), notes)
  end)
end)

describe("records of one key", function()
  teardown(helper.close_cluster)

  -- The handlers of a key never overlap, so a plain global per state is not
  -- enough to see it: the file system is.
  it("never run side by side in two workers", function()
    local topic, folder = helper.topic(4), helper.folder()
    local records = {}
    for i = 1, 200 do records[i] = { key = "k" .. i % 5, value = tostring(i) } end
    produce(topic, records)
    local consumer = open { topics = { topic }, workers = 8, handler_args = folder,
      retry = { delay = 0 },
      handler = function(record, context)
        local path = context.args .. "/" .. record.key
        if io.open(path .. ".lock") then
          local problem = assert(io.open(context.args .. "/overlap", "a"))
          problem:write(record.id, "\n")
          problem:close()
        end
        assert(io.open(path .. ".lock", "w")):close()
        local log = assert(io.open(path, "a"))
        if record.attempt == 1 and tonumber(record.value) % 17 == 0 then
          log:close()
          os.remove(path .. ".lock")
          error "once"
        end
        log:write(record.value, "\n")
        log:close()
        os.remove(path .. ".lock")
      end }
    assert(consumer:start())
    helper.eventually(30, function() return consumer:stats().done == 200 end, consumer)
    local report = assert(consumer:close())
    assert.equal(math.floor(200 / 17), report.failed)
    assert.is_nil(helper.read(folder .. "/overlap"))
    for k = 0, 4 do
      local expected = {}
      for i = 1, 200 do
        if i % 5 == k then expected[#expected + 1] = i end
      end
      assert.equal(table.concat(expected, "\n") .. "\n", helper.read(folder .. "/k" .. k))
    end
  end)
end)
