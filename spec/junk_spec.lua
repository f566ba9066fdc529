-- strand.core is what lua/strand is built on, and nobody else's. It takes
-- whatever it is given all the same: in any order, with any argument, it raises
-- or returns, and the process lives. Under a sanitizer this says the most.
local helper = require "spec.support.helper"

-- arg: seed, calls. The last call is in the output when it was the last ever.
local program = [==[
local core = require "strand.core"
local admin = require "strand.options.admin"
local consumer = require "strand.options.consumer"
local producer = require "strand.options.producer"
local unpack = table.unpack or unpack
local seed, calls = tonumber(arg[1]), tonumber(arg[2])

local function random(n)
  seed = seed * 16807 % 2147483647
  return seed % n + 1
end

local function pick(list) return list[random(#list)] end

-- ---- what there is to call ----------------------------------------------------

local cluster = assert(core.mock { brokers = 1, topics = { { topic = "t", partitions = 2 } } })
local kafka = { ["bootstrap.servers"] = cluster:bootstrap_servers() }
local number = 0

local function consumer_options()
  number = number + 1
  return consumer.open({
    kafka = { ["bootstrap.servers"] = kafka["bootstrap.servers"], ["group.id"] = "g" .. number },
    topics = { "t" }, handler = function() end, log = function() end, workers = 2,
  }, core.matches)
end

local flats = {
  consumer = consumer_options,
  producer = function() return (producer.open { kafka = kafka, log = print }) end,
  admin = function() return (admin.open { kafka = kafka }) end,
  mock = function() return { brokers = 1, topics = { { topic = "t", partitions = 1 } } } end,
}
local kinds = { "consumer", "producer", "admin", "mock" }
local objects, names = {}, {}

local function methods_of(object)
  local list, metatable = {}, debug.getmetatable(object)
  for _, from in ipairs { metatable, metatable.__index } do
    for name, method in pairs(from) do
      if type(method) == "function" then list[#list + 1] = { name, method } end
    end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function renew(kind)
  objects[kind] = assert(core[kind](flats[kind]()))
  names[kind] = names[kind] or methods_of(objects[kind])
end

for _, kind in ipairs(kinds) do renew(kind) end

local functions = {}
for name, f in pairs(core) do
  if type(f) == "function" and not flats[name] then functions[#functions + 1] = { name, f } end
end
table.sort(functions, function(a, b) return a[1] < b[1] end)

-- ---- junk -----------------------------------------------------------------------

-- No number here is a time to wait: all are short, or refused.
local deep = {}
for _ = 1, 50 do deep = { deep, a = deep } end
local values = {
  true, false, 0, 1, 2, 0.001, 0.5, -1, -0.5, 0 / 0, 1 / 0, -1 / 0, 2 ^ 31, 2 ^ 31 - 1, 2 ^ 32,
  -2 ^ 31, 2 ^ 53, 2 ^ 53 + 2, 2 ^ 63, -2 ^ 63, 1e308,
  "", "t", "g1", "a\0b", "\255\254", ("x"):rep(100000), "%s%n%d", "0x0", "0.01", "^(", "[a-",
  "finish", "drain", "now", "offset", "time", "earliest", "latest", "Fetch", "OffsetCommit",
  "REQUEST_TIMED_OUT", "AAAAAgABAA==",
  {}, { 1 }, { "a" }, { "a", "b" }, { "a", false }, { {} }, { { 1, 2 }, { 4, 4 } }, { { 2, 1 } },
  { { "a", "b" } }, { [1] = 1, [3] = 3 }, { topic = "t", partitions = 1 }, { { topic = "u" } },
  { { topic = "u", partitions = 1, config = { { "a", "b" } } } }, { -1 }, { 2 ^ 31 }, deep,
  math.maxinteger or 2 ^ 63, math.mininteger or -2 ^ 63, -0.0,
  setmetatable({}, { __index = error, __len = error, __tostring = error }),
  print, function() end, coroutine.create(print), io.stdout, core.retry(1, "r"), core.stop(),
}

local function junk()
  local n = random(#values + #kinds + 4)
  if n <= #values then return values[n] end
  if n <= #values + #kinds then return objects[kinds[n - #values]] end
  return nil
end

-- A table that is right but for one field.
local function nearly(make)
  local flat, fields = make(), {}
  for name in pairs(flat) do fields[#fields + 1] = name end
  table.sort(fields)
  local field = pick(fields)
  if type(flat[field]) == "table" and random(2) == 1 then
    local inner = {}
    for name, value in pairs(flat[field]) do inner[name] = value end
    inner[next(inner) or 1] = junk()
    flat[field] = inner
  else
    flat[field] = junk()
  end
  return flat
end

-- Where nothing means half a minute, something short is said.
local short = { wait = 2, create_topics = 3, delete_topics = 3, group_offsets = 4, close_begin = 3 }

local function arguments(name, self)
  local list, count = { self }, random(7)
  for i = self ~= nil and 2 or 1, count do list[i] = junk() end
  local at = short[name]
  if at and list[at] == nil then list[at] = 0.001 end
  if at and count < at then count = at end
  return list, count
end

-- ---- the calls ------------------------------------------------------------------

local raised, refused, returned = 0, 0, 0

local function judge(name, ok, ...)
  local value, message, code = ...
  if not ok then
    assert(type(value) == "string", name .. " raised something else than text")
    raised = raised + 1
  elseif value == nil and type(message) == "string" and name ~= "next_log" then
    assert(type(code) == "string", name .. " failed without a code")
    refused = refused + 1
  else
    returned = returned + 1
  end
  return ok and value or nil
end

local function call(name, f, list, count)
  return judge(name, pcall(f, unpack(list, 1, count)))
end

-- librdkafka's mock cluster takes a second to end.
local function is_slow(kind) return kind == "mock" and random(10) > 1 end

local function open(kind)
  if is_slow(kind) then return end
  local made = call(kind, core[kind], { random(3) > 1 and nearly(flats[kind]) or junk() }, 1)
  if made then objects[kind] = made end
end

local tickets = 0

local function use(kind)
  local name, method = unpack(pick(names[kind]))
  local self = objects[kind]
  local ends = name == "close" or name == "__gc" or name == "__close"
  if ends and is_slow(kind) then return end
  if random(10) == 1 then self = junk() end
  local list, count = arguments(name, self)
  if kind == "consumer" and name == "configure" and random(2) == 1 then
    list[2], count = nearly(consumer_options), 2
  end
  local made = call(kind .. ":" .. name, method, list, count)
  if type(made) == "userdata" then
    tickets = tickets + 1
    values[#values < 80 and #values + 1 or 80] = made
  end
  if random(50) == 1 and not is_slow(kind) then renew(kind) end
end

for i = 1, calls do
  local what = random(20)
  if what == 1 then open(pick(kinds))
  elseif what <= 5 then
    local name, f = unpack(pick(functions))
    call(name, f, arguments(name))
  else use(pick(kinds)) end
  if i % 500 == 0 then collectgarbage() end
end

core.signals_restore()
print(("%d raised, %d refused, %d returned, %d tickets"):format(raised, refused, returned, tickets))
]==]

describe("junk given to strand.core", function()
  local children = {}
  setup(function() -- at once: they wait more than they work
    for seed = 1, 2 do children[seed] = helper.spawn(program, seed, 4000) end
  end)
  teardown(helper.end_children)

  for seed = 1, 2 do
    it("raises or returns, seed " .. seed, function()
      local child = children[seed]
      local status = child:wait(120)
      assert.are.equal(0, status, child:errors() .. child:output())
      local raised, refused, returned = child:output():match
        "(%d+) raised, (%d+) refused, (%d+) returned"
      assert.is_true(tonumber(raised) > 200 and tonumber(refused) > 20
        and tonumber(returned) > 200, child:output())
    end)
  end
end)

-- Seeds 9 and 30 of the above met an assert of the engine's.
it("a consumer without a route is refused by strand.core too", function()
  local child = helper.spawn [[
    local core = require "strand.core"
    local options = require "strand.options.consumer"
    local flat = options.open({ kafka = { ["bootstrap.servers"] = "127.0.0.1:1",
      ["group.id"] = "g" }, topics = { "t" }, handler = function() end }, core.matches)
    flat.routes = {}
    print(pcall(core.consumer, flat))
  ]]
  assert.equal(0, child:wait(), child:errors())
  assert.equal("false\toption 'routes': empty\n", child:output())
end)

-- A socket of librdkafka's got the number 2 once, and the log went to a broker.
it("a program started without standard descriptors writes its log into nothing of its own", function()
  local text = [[
    local strand = require "strand"
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = "127.0.0.1:1" }, topics = { "t" } })
    local links = io.popen("for fd in 0 1 2; do readlink /proc/$PPID/fd/$fd; done")
    local out = assert(io.open(arg[1], "w"))
    out:write(links:read "*a")
    out:close()
    producer:close { timeout = 1 }
  ]]
  local folder = helper.folder()
  helper.write(folder .. "/main.lua", text)
  os.execute(("%s %s/main.lua %s/links <&- >&- 2>&-"):format(
    os.getenv "STRAND_LUA" or arg[-1], folder, folder))
  local links = helper.read(folder .. "/links")
  assert.equal(("/dev/null\n"):rep(3), links)
end)

describe("a program that guards its globals", function()
  after_each(helper.end_children)

  it("opens, runs and closes everything", function()
    local child = helper.spawn [[
      setmetatable(_G, {
        __index = function(_, name) error("undeclared " .. name, 2) end,
        __newindex = function(_, name) error("assigned " .. name, 2) end,
      })
      local strand = require "strand"
      local mock = assert(strand.mock { topics = { t = 1 } })
      local kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, ["group.id"] = "g" }
      local consumer = assert(strand.consumer {
        kafka = kafka, topics = { "t" }, handler = function() end, workers = 1 })
      assert(consumer:start())
      kafka["group.id"] = nil
      local producer = assert(strand.producer { kafka = kafka })
      assert(producer:send_wait { topic = "t", value = "x" })
      assert(strand.admin { kafka = kafka }):close()
      local failed = strand.testing.run(function() error "x" end, strand.testing.record())
      assert(failed.reason:find("traceback", 1, true))
      producer:close()
      consumer:close { mode = "now" }
      print "all of it"
    ]]
    child:says "all of it"
    assert.equal(0, child:wait())
  end)

  it("hears which library is missing", function()
    local child = helper.spawn [[
      local write = io.write
      io = nil
      write(select(2, pcall(require, "strand")))
    ]]
    assert.equal(0, child:wait())
    assert.matches("strand needs Lua's library 'io'", child:output(), 1, true)
  end)
end)
