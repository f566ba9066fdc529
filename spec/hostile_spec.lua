-- A catalogue of hostile handlers: each has a consumer of its own, all in one
-- process. A record that meets the hostile handler is tried three times; then
-- ten others of that consumer must be done, its close must end, and so must
-- the process. docs/hostile-handlers.md has the same list: what is contained,
-- what stays in the worker whose handler did it, and what cannot be contained.
-- In local mode all of them run in one state, which is the program's.
local helper = require "spec.support.helper"

local JIT = rawget(_G, "jit") ~= nil
local MEMORY = 16 * 1024 * 1024

-- name (spec/handlers/hostile.lua), what the reasons of its attempts hold, one
-- after the other; memory, deadline: the consumer's options; puc: not under
-- LuaJIT; threads: not in local mode; here: what the reasons hold in that. Of
-- three attempts two meet in one of the two workers.
local contained = {
  { "an error in an error handler", "." },
  { "a __tostring that never ends calling itself", "^%(table value with a broken __tostring%)" },
  { "an error message of 64 MiB", "^e+\nstack traceback:\n" },
  { "an error message with zero bytes", "^a%z?b?" },
  { "an error value that is the global table", "^%(table value without __tostring%)" },
  { "an outcome and a record of an earlier call, raised",
    "^first\n.*strand.Record %(its handler has returned%)" },
  { "250 results", "^1\n" },
  { "an error in __close", "in __close" },
  { "errors in finalizers, at once and later", ".", puc = true, threads = true },
  { "a recursion without end", "stack overflow" },
  { "a recursion through string.gsub", "stack overflow" },
  { "a recursion through pcall", "it came back" },
  { "a tower of metamethods", "stack overflow" },
  { "a chain of __index tables without end", "loop" },
  { "a recursion through coroutines", "stack overflow", puc = true },
  { "memory without end", "not enough memory", memory = MEMORY, threads = true },
  { "memory kept in a global", "not enough memory", memory = MEMORY, threads = true },
  { "a string of 1 GiB", "not enough memory", memory = MEMORY, threads = true },
  { "10,000 coroutines that are never resumed", "and dropped" },
  { "a yield, also across pcall", "attempt to yield", here = "yield" },
  { "a loop without end, with a deadline", "deadline of 0.2 s", deadline = 0.2, puc = true,
    threads = true },
  { "a loop that catches every error, with a deadline", "deadline of 0.2 s", deadline = 0.2,
    puc = true, threads = true },
  { "os.exit", "os.exit%(%) in a worker", threads = true },
  { "closing stdin, stdout and stderr", "they stay open", threads = true },
  { "an unknown locale", "^locale: nil" },
  { "a producer and a consumer of its own, dropped", "dropped" },
  { "asking the consumer to end, and failing", "^reached: args dead_letter " },
  { "a record that is kept", "^kept\n.*record used after its handler returned" },
  { "a record under another metatable", "^now a userdata" },
  { "a hook that raises", "in the hook" },
  { "collectgarbage \"generational\"", "generational" },
}

-- In local mode alone; spec/local_spec.lua tries them.
local contained_here = { "closing or resuming the coroutine of another handler",
  "a wait without end", "`context:defer()` without an end" }

local stays = {
  { "debug.setmetatable on nil, numbers and functions", "a metamethod" },
  { "collectgarbage \"stop\"", "stopped" },
  { "a global table that raises", "global no_such_global" },
  { "require, error, tostring, pcall and the like replaced", "replaced: error" },
  { "package.loaded emptied", "." },
  { "a broken metatable of strings", "no method" },
  { "a broken metatable of records", "." },
}

-- Told in docs/hostile-handlers.md, with the reason; nothing can be asserted of them.
local not_contained = {
  "memory without end and without `worker_memory` (the system ends the process)",
  "a loop without end and without `deadline` (its key and its worker are gone; under LuaJIT a "
    .. "compiled loop also with one, but then a spare worker takes over)",
  "a call of C or of the system that never returns (no thread can be ended from outside; with "
    .. "`deadline` a spare worker takes over)",
  "a recursion through coroutines under LuaJIT (which does not count it, and crashes)",
  "an error in a finalizer under LuaJIT (where compiled code collects garbage, a crash)",
  "broken bytecode given to `load` (no Lua checks it)",
  "`debug.getregistry`, `debug.getinfo` and `debug.setupvalue` used on what is Lua's or strand's own",
  "C modules and LuaJIT's `ffi` (they may do anything)",
  "what belongs to the process: `os.setlocale` with a locale that exists, `setvbuf` of standard "
    .. "streams, files, signals, the working directory",
}

-- arg: the log, how many workers, then the cases, four for each: name, what the
-- others are, memory, deadline.
local program = [==[
local helper = require "spec.support.helper"
local strand = require "strand"

local log = assert(io.open(arg[1], "w"))
log:setvbuf "line"

local OTHERS = 10
local mock = assert(strand.mock { brokers = 1 })
local kafka = { ["bootstrap.servers"] = mock.bootstrap_servers }
local producer = assert(strand.producer { kafka = kafka })
local cases = {}

local function options_of(case)
  return {
    kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, ["group.id"] = case.topic,
      ["fetch.wait.max.ms"] = 50 },
    topics = { case.topic }, workers = tonumber(arg[2]), max_in_flight = 2, retry = { attempts = 3, delay = 0.01 },
    handler = "spec.handlers.hostile", handler_args = case.name,
    worker_memory = case.memory, deadline = case.deadline, log = function() end,
    on_event = function(event)
      if event.type ~= "record_failed" then return end
      if event.key ~= "bad" then case.more = event.reason end
      case.reason = case.reason .. (event.reason or "") .. "\n"
    end,
  }
end

for i = 3, #arg, 4 do
  local case = { name = arg[i], others = arg[i + 1], memory = tonumber(arg[i + 2]),
    deadline = tonumber(arg[i + 3]), topic = "t" .. i, reason = "" }
  assert(mock:create_topic(case.topic, 1))
  assert(producer:send { topic = case.topic, key = "bad", value = "" })
  cases[#cases + 1] = case
end
assert(producer:flush(20))

local function serve()
  for _, case in ipairs(cases) do case.consumer:step(0) end
end

local function wait(what, is_over)
  for _, case in ipairs(cases) do
    local ok = pcall(helper.eventually, 60, function()
      serve()
      return is_over(case.consumer:stats())
    end)
    if not ok then log:write("case\t", case.name, "\t", what, " never came\n") end
  end
end

for _, case in ipairs(cases) do
  case.consumer = assert(strand.consumer(options_of(case)))
  assert(case.consumer:start())
end
wait("an end", function(stats) return stats.parked + stats.done >= 1 end)
for _, case in ipairs(cases) do
  for n = 1, OTHERS do
    assert(producer:send { topic = case.topic, key = case.others .. n, value = "" })
  end
end
assert(producer:flush(20))
wait("the others", function(stats) return stats.parked + stats.done >= 1 + OTHERS end)
for _, case in ipairs(cases) do
  local report, message, _, last = case.consumer:close { timeout = 20 }
  report = report or last
  local reason = ("%q"):format(case.reason):gsub("\\\n", "\\n"):gsub("[\n\t]", " ")
  log:write(table.concat({ "case", case.name, report and report.done or tostring(message),
    report and report.parked or 0, report and tostring(report.detached) or "", reason,
    tostring(case.more) }, "\t"):gsub("\n", " "), "\n")
end
producer:close()
mock:close()
log:write "over\n"
]==]

-- name -> done, parked, detached, reason
local function run(cases, others, workers)
  local log, arguments = helper.folder() .. "/log", {}
  for _, case in ipairs(cases) do
    for _, value in ipairs { case[1], others, case.memory or "none", case.deadline or "none" } do
      arguments[#arguments + 1] = value
    end
  end
  local child = helper.spawn(program, log, workers, (table.unpack or unpack)(arguments))
  local results = { status = child:wait(300), errors = child:errors() }
  for line in (helper.read(log) or ""):gmatch "[^\n]+" do
    local name, done, parked, detached, reason, more =
      line:match "^case\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$"
    if name then
      results[name] = { done = done, parked = parked, detached = detached,
        reason = (loadstring or load)("return " .. reason)(), more = more }
    elseif line ~= "over" then
      results[#results + 1] = line
    else
      results.over = true
    end
  end
  return results
end

local function here(cases, workers)
  local list = {}
  for _, case in ipairs(cases) do
    local absent = JIT and (case.puc or case.memory) or workers == 0 and case.threads
    if not absent then list[#list + 1] = case end
  end
  return list
end

local function describe_cases(title, cases, others, workers)
  describe(title, function()
    local results

    setup(function() results = run(here(cases, workers), others, workers) end)
    teardown(helper.end_children)

    it("leaves the process alive", function()
      assert.same({ 0, true }, { results.status, results.over }, results.errors)
      assert.same({}, { (table.unpack or unpack)(results) })
    end)

    for _, case in ipairs(here(cases, workers)) do
      it("lets the others go on: " .. case[1], function()
        local result = assert(results[case[1]], "it did not end")
        assert.matches(workers == 0 and case.here or case[2], result.reason)
        assert.equal(11, result.done + result.parked)
        assert.is_true(tonumber(result.done) >= 10, result.more)
        assert.equal("false", result.detached)
      end)
    end
  end)
end

describe_cases("a hostile handler that is contained", contained, "ordinary", 2)
describe_cases("a hostile handler that spoils its worker's state", stays, "plain", 2)
-- LuaJIT needs a larger stack for it than a program's own thread has: see the manual.
if not JIT then
  describe_cases("in local mode a hostile handler that is contained", contained, "ordinary", 0)
end

describe("a recursion without end", function()
  -- Of compiled code LuaJIT says "error in error handling", at 15 to 20 of 120
  -- sizes.
  it("is said to be a stack overflow, whatever the size of its frames", function()
    local testing = require "strand".testing
    for size = 1, 60, 3 do
      local names = {}
      for i = 1, size do names[i] = "v" .. i end
      local deeper = assert((loadstring or load)(("local function deeper() local %s; return 1 + deeper() end "
        .. "return deeper"):format(table.concat(names, ","))))()
      local result = testing.run(deeper, testing.record { value = "v" })
      assert.matches("stack overflow", result.reason)
    end
  end)
end)

describe("a limit of memory", function()
  it("is refused under LuaJIT, and taken elsewhere", function()
    local ok, message = pcall(require "strand.options.consumer".open, {
      kafka = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" }, topics = { "t" },
      handler = function() end, worker_memory = MEMORY })
    assert.equal(not JIT, ok)
    if JIT then assert.matches("option 'worker_memory': not under LuaJIT", message) end
  end)
end)

describe("the manual", function()
  local function list(cases)
    local names = {}
    for i, case in ipairs(cases) do
      local limits = case.memory and " (with `worker_memory`)" or case.deadline and ""
        or case.puc and " (not under LuaJIT)" or ""
      names[i] = type(case) == "string" and case or case[1] .. limits
    end
    return table.concat(names, "; ") .. "."
  end

  local function found(mark)
    local text = helper.read "docs/hostile-handlers.md"
      :match("<!%-%- " .. mark .. ":begin %-%->%s*(.-)%s*<!%-%- " .. mark .. ":end")
    return text and text:gsub("%s+", " ")
  end

  it("has the catalogue as it is here", function()
    local wanted = ("- **Fails alone**: %s - **Spoils its worker's state**: %s "
      .. "- **Is not contained**: %s"):format(list(contained), list(stays), list(not_contained))
    assert.equal(wanted, (found "hostile"))
  end)

  it("has what is contained in local mode", function()
    local names, others = {}, {}
    for _, case in ipairs(contained) do
      local target = case.threads and others or names
      target[#target + 1] = case[1] .. (case.puc and not case.threads and " (not under LuaJIT)" or "")
    end
    for _, name in ipairs(contained_here) do names[#names + 1] = name end
    assert.equal(("- **Fails alone**: %s. - **Is not contained**: %s; and what spoils a worker's "
      .. "state, or is not contained there."):format(table.concat(names, "; "),
        table.concat(others, "; ")), (found "hostile%-local"))
  end)
end)
