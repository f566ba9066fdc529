-- What the system does not give: a name for what is missing, the limit that
-- was met, and nothing half done.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

-- In the processes below: their own limits, and what they hold.
local LIMITS = [[
  io.stdout:setvbuf "line"
  local strand = require "strand"
  local stat = assert(io.open "/proc/self/stat")
  local pid = stat:read "*l":match "^(%d+)"
  stat:close()
  local function limit(what, value)
    assert(os.execute(("prlimit --pid %s --%s=%s:"):format(pid, what, value)))
  end
  local function size()
    local file = assert(io.open "/proc/self/status")
    local kib = file:read "*a":match "VmSize:%s*(%d+)"
    file:close()
    return kib * 1024
  end
]]

describe("configure without threads", function()
  local topic, folder, child

  local PROGRAM = LIMITS .. [[
    local bootstrap, topic, folder, group = ...
    local consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = bootstrap, ["group.id"] = group,
        ["fetch.wait.max.ms"] = 10 },
      topics = { topic }, workers = 2, handler = "spec.handlers.actor", handler_args = folder,
      retry = { attempts = 3, delay = 3600 },
    })
    assert(consumer:start())
    local function say(what, ok, message, code)
      print(what, ok, code, message, consumer:stats().workers)
    end
    local stack = rawget(_G, "jit") and 128 or 8
    local ROOM = math.floor(3.5 * stack) * 2^20 -- for a few of them
    local steps = {
      function()
        limit("as", ("%.0f"):format(size() + ROOM))
        local ok, message, code = consumer:configure { workers = 200,
          retry = function() return 0 end }
        limit("as", "unlimited")
        say("more", ok, message, code)
      end,
      function() say("interval", consumer:configure { commit_interval = 1 }) end,
      function() say("four", consumer:configure { workers = 4 }) end,
    }
    for i, step in ipairs(steps) do
      while not io.open(folder .. "/step" .. i) do assert(consumer:step(0.01)) end
      step()
    end
    while true do consumer:step(0.01) end
  ]]

  setup(function()
    fixture.open()
    topic, folder = helper.topic(1), fixture.folder()
    local records = {}
    for i = 1, 8 do records[i] = { key = "k" .. i, value = "gate many" } end
    records[9] = { key = "f", value = "fail 2" }
    fixture.produce(topic, records)
    -- AddressSanitizer's other stack for each thread takes memory that is not there.
    child = helper.spawn_in('ASAN_OPTIONS="$ASAN_OPTIONS:detect_stack_use_after_return=0"',
      PROGRAM, helper.bootstrap(), topic, folder, helper.name "group")
  end)
  teardown(fixture.close)

  local function held()
    return fixture.count(folder, "enter") - fixture.count(folder, "leave")
  end

  it("has not happened, and names the limit", function()
    helper.eventually(30, function() return held() == 2 end)
    fixture.release(folder, "step1")
    child:says("more\tnil\tNO_THREAD\tworker")
    assert.matches("of 198 could not start: Resource temporarily unavailable "
      .. "%(RLIMIT_NPROC %w+, RLIMIT_AS %d+", child:output())
    helper.eventually(1, fixture.pause(0.3))
    assert.equal(2, held())
  end)

  it("is not brought back by the next", function()
    fixture.release(folder, "step2")
    child:says("interval\ttrue\tnil\tnil\t2")
    helper.eventually(1, fixture.pause(0.3))
    assert.equal(2, held())
  end)

  it("works when there are threads", function()
    fixture.release(folder, "step3")
    child:says("four\ttrue")
    helper.eventually(10, function() return held() == 4 end)
  end)

  it("left the retry function as it was", function()
    fixture.release(folder, "many")
    helper.eventually(10, function() return fixture.count(folder, "leave") == 9 end)
    helper.eventually(1, fixture.pause(0.3))
    assert.equal(1, fixture.count(folder, "enter", 8)) -- in an hour
  end)
end)

-- A process for each limit: it opens what there is to open, and says what it
-- got. Then it has descriptors again, and all of it works.
describe("with few file descriptors", function()
  local FIRST, LAST = 3, 40
  local children, folder = {}, nil

  local PROGRAM = LIMITS .. [[
    local most, folder = ...
    local system = require "system"
    local SERVERS = { ["bootstrap.servers"] = "127.0.0.1:1" }
    local GROUP = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" }
    local function quiet() end
    local inherited = -1 -- and the one that looks
    for name in require "lfs".dir "/proc/self/fd" do
      if name:match "^%d+$" then inherited = inherited + 1 end
    end
    print("inherited", inherited)
    local openers = {
      mock = function() return strand.mock { brokers = 3 } end,
      producer = function() return strand.producer { kafka = SERVERS, log = quiet } end,
      admin = function() return strand.admin { kafka = SERVERS } end,
      consumer = function()
        return strand.consumer { kafka = GROUP, topics = { "t" }, workers = 2, log = quiet,
          handler = "spec.handlers.sweep",
          handler_args = { list = {}, deep = {} } }
      end,
    }
    local function try(name)
      local object, message, code = openers[name]()
      if object and name == "consumer" then
        local ok
        ok, message, code = object:start()
        if not ok then code = "start " .. code end
      end
      if object then object:close { timeout = 1 } end
      print(name, code or "ok", message)
    end
    local function try_all(names)
      for name in names:gmatch "%l+" do try(name) end
      collectgarbage()
      collectgarbage()
    end
    limit("nofile", most)
    try_all "mock producer admin consumer"
    print "tried"
    while not io.open(folder .. "/raised") do system.sleep(0.01) end
    try_all "consumer admin producer mock"
    print "over"
    while true do
      if rawget(_G, "jit") then require "jit".flush() end -- traces keep what they met
      collectgarbage()
      system.sleep(0.2) -- there are many, and few cores
    end
  ]]

  -- What the output says of each that was tried, in order.
  local function said(child)
    local list = {}
    for name, code, message in child:output():gmatch "(%l+)\t([^\t\n]+)\t([^\n]*)" do
      list[#list + 1] = { name = name, code = code, message = message }
    end
    return list
  end

  local function inherited(child)
    return tonumber(child:output():match "inherited\t(%d+)\n")
  end

  local function descriptors(child)
    local count = 0
    for name in require "lfs".dir(("/proc/%d/fd"):format(child.pid)) do
      if name:match "^%d+$" then count = count + 1 end
    end
    return count
  end

  setup(function()
    folder = helper.folder()
    for n = FIRST, LAST do children[n] = helper.spawn(PROGRAM, n, folder) end
    for n = FIRST, LAST do children[n]:says("tried", 60) end
  end)
  teardown(helper.end_children)

  it("nothing ends the process or hangs, and each failure names the limit", function()
    for n = FIRST, LAST do
      local tries = said(children[n])
      assert.equal(4, #tries, children[n]:output() .. children[n]:errors())
      for _, try in ipairs(tries) do
        if try.code ~= "ok" then
          assert.matches("^s?t?a?r?t? ?NO_DESCRIPTORS$", try.code)
          assert.matches(("Too many open files (RLIMIT_NOFILE %d)"):format(n), try.message, 1, true)
        end
      end
    end
  end)

  it("what cannot be opened under one limit cannot under a lower one", function()
    local opened = {}
    for n = FIRST, LAST do
      for _, try in ipairs(said(children[n])) do
        if opened[try.name] then assert.equal("ok", try.code, try.name .. " with " .. n) end
        opened[try.name] = try.code == "ok"
      end
    end
    for _, name in ipairs { "mock", "producer", "admin", "consumer" } do
      assert.is_true(opened[name], name)
    end
  end)

  it("nothing is left open, and all works when there are more", function()
    for n = FIRST, LAST do
      assert(os.execute(("prlimit --pid %d --nofile=200:"):format(children[n].pid)))
    end
    helper.write(folder .. "/raised", "")
    for n = FIRST, LAST do
      children[n]:says("over", 60)
      local tries = said(children[n])
      for i = 5, 8 do assert.equal("ok", tries[i].code, tries[i].message) end
      helper.eventually(20, function()
        return descriptors(children[n]) == inherited(children[n])
      end)
    end
  end)

  it("run() has not begun when there is none for the signals", function()
    local child = helper.spawn(LIMITS .. [[
      local consumer = assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" },
        topics = { "t" }, handler = function() end, log = function() end,
      })
      limit("nofile", 3)
      print("run", consumer:run())
      print("all", strand.run(consumer))
      print("state", consumer.core:state())
      -- A sanitizer's work at the end needs descriptors.
      while not io.open "/dev/null" do require "strand.core".wait({}, 0.05) end
    ]])
    child:says("state", 60)
    assert(os.execute(("prlimit --pid %d --nofile=200:"):format(child.pid)))
    assert.equal(0, child:wait(60), child:errors())
    local failure = "\tnil\tthe eventfd of signals: Too many open files (RLIMIT_NOFILE 3)"
      .. "\tNO_DESCRIPTORS\n"
    assert.equal("run" .. failure .. "all" .. failure .. "state\tnew\n", child:output())
  end)
end)

-- Root has no limit of threads: so it is somebody else who tries, each time
-- another, whose threads are no one else's. Only root can be somebody else. The
-- checkout may be closed to others: what is needed of it is copied.
local few_threads = helper.output "id -u" == "0\n" and describe or function() end

few_threads("with few threads", function()
  local MOST = 12

  local PROGRAM = LIMITS .. [[
    local function quiet() end
    local SERVERS = { ["bootstrap.servers"] = "127.0.0.1:1" }
    local GROUP = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" }
    local function try(name, object, message, code)
      if object and name == "consumer" then
        local ok
        ok, message, code = object:start()
      end
      if object then object:close { timeout = 1 } end
      print(name, code or "ok", message)
    end
    limit("nproc", (...))
    try("mock", strand.mock { brokers = 3 })
    try("producer", strand.producer { kafka = SERVERS, log = quiet })
    try("admin", strand.admin { kafka = SERVERS })
    try("consumer", strand.consumer { kafka = GROUP, topics = { "t" }, workers = 2, log = quiet,
      handler = function() end })
  ]]

  local place

  local function module()
    for template in package.cpath:gmatch "[^;]+" do
      local path = template:gsub("%?", "strand/core")
      if helper.read(path) then return path end
    end
  end

  setup(function()
    place = helper.output "mktemp -d":match "%S+"
    helper.write(place .. "/main.lua", PROGRAM)
    assert(os.execute(("cp -r lua scripts %s && mkdir %s/strand && cp %s %s/strand/core.so && "
      .. "chmod -R a+rX %s"):format(place, place, module(), place, place)))
  end)
  teardown(function() os.execute("rm -rf " .. place) end)

  local function run_as(uid, n)
    return helper.output(("cd %s && LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='./?.so;;' "
      .. "setpriv --reuid=%d --regid=%d --clear-groups timeout 60 %s main.lua %d 2>&1"):format(
      place, uid, uid, os.getenv "STRAND_LUA" or arg[-1], n))
  end

  it("nothing ends the process or hangs, and each failure says so", function()
    for n = 1, MOST do
      local output = run_as(54000 + n, n)
      local _, ok = output:gsub("%l+\tok\tnil\n", "")
      local _, failed = output:gsub("%l+\tNO_THREAD\t[^\n]*%(RLIMIT_NPROC " .. n .. ",", "")
      assert.equal(4, ok + failed, output)
      if n == 1 then assert.equal(4, failed, output) end
      if n == MOST then assert.equal(4, ok, output) end
    end
  end)
end)

-- In a process of its own: the mock's descriptors are in this one.
describe("a closed object", function()
  teardown(helper.close_cluster)
  after_each(helper.end_children)

  local PROGRAM = [[
    local bootstrap, topic, group = ...
    local strand = require "strand"
    local helper = require "spec.support.helper"
    local UNREACHABLE = "127.0.0.1:1"
    local quiet = function() end
    local kept = {} -- nothing is collected

    local function consumer(changes)
      local given = {
        kafka = { ["bootstrap.servers"] = bootstrap, ["fetch.wait.max.ms"] = 10,
          ["group.id"] = group .. #kept }, -- each its own: so it joins at once
        topics = { topic }, workers = 2, members = 2, handler = quiet, log = quiet,
        dead_letter = { topic = topic .. ".dead" },
      }
      for name, value in pairs(changes) do given[name] = value end
      return assert(strand.consumer(given))
    end

    local function joined(given)
      local object = consumer(given)
      assert(object:start())
      helper.eventually(90, function() return #assert(object:assignment()) > 0 end, object)
      return object
    end

    local cases = {
      { "producer", function()
        local object = assert(strand.producer { kafka = { ["bootstrap.servers"] = UNREACHABLE },
          log = quiet, on_delivery = quiet })
        assert(object:send { topic = "t" })
        object:send_wait { topic = "t", timeout = 0.01 }
        object:close { timeout = 0 }
        return object
      end },
      { "producer, in its callback", function()
        local object
        object = assert(strand.producer { kafka = { ["bootstrap.servers"] = bootstrap },
          log = quiet, on_delivery = function() object:close() end })
        for i = 1, 3 do assert(object:send { topic = topic }) end
        helper.eventually(30, function()
          local open = pcall(object.poll, object, 0.05)
          return not open or tostring(object):find "closed"
        end)
        return object
      end },
      { "consumer that never started", function()
        local object = consumer {}
        object:close { timeout = 5 }
        return object
      end },
      { "consumer whose start failed", function()
        local object = consumer { handler = "no.such.module" }
        assert(not object:start())
        return object
      end },
      { "consumer", function()
        local object = joined {}
        object:close { timeout = 10 }
        assert(object:stats().members == 2)
        return object
      end },
    }
    -- What is made once for the process stays.
    kept[1] = joined {}
    kept[1]:close { timeout = 10 }
    helper.eventually(30, function() return helper.threads() == 1 end)
    for _, case in ipairs(cases) do
      local before = helper.descriptors()
      for _ = 1, 3 do kept[#kept + 1] = case[2]() end
      local ok = pcall(helper.eventually, 20, function()
        return helper.descriptors() <= before
      end)
      print(case[1] .. ":", ok and "none left" or helper.descriptors() - before)
    end
    os.exit(0)
  ]]

  it("has given back its descriptors", function()
    local topic = helper.topic(4)
    local child = helper.spawn(PROGRAM, helper.bootstrap(), topic, helper.name "group")
    assert.equal(0, child:wait(300), child:errors())
    assert.equal(([[
producer:	none left
producer, in its callback:	none left
consumer that never started:	none left
consumer whose start failed:	none left
consumer:	none left
]]), child:output())
  end)
end)
