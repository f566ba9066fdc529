-- Adapters that a user writes: the one of docs/event-loops.md, on a loop that is shaped like copas;
-- what becomes of objects whose loop ends, is dropped, or is in a forked process.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local strand = require "strand"

-- As much of copas 4 as the page's adapter uses: coroutines by select, on strand's own poll.
local function fake_copas()
  local core = require "strand.core"
  local copas, ready, sleeping, receiving = {}, {}, {}, {}

  local function resume(thread, ...)
    local ok, problem = coroutine.resume(thread, ...)
    if not ok then error(debug.traceback(thread, problem), 0) end
  end

  function copas.addthread(f, ...)
    local thread = coroutine.create(f)
    ready[#ready + 1] = { thread, ... }
    return thread
  end

  function copas.receive(socket)
    local data, problem = socket.receive(socket)
    while data == nil and problem == "timeout" do
      receiving[coroutine.running()] = socket.getfd()
      coroutine.yield()
      data, problem = socket.receive(socket)
    end
    return data, problem
  end

  function copas.pause(seconds)
    sleeping[coroutine.running()] = core.now() + seconds
    coroutine.yield()
  end

  function copas.pauseforever() copas.pause(math.huge) end

  function copas.wakeup(thread)
    if sleeping[thread] then sleeping[thread] = 0 end
  end

  local function patience()
    if #ready > 0 then return 0 end
    local first
    for _, at in pairs(sleeping) do first = math.min(first or at, at) end
    return first and first < math.huge and math.max(0, first - core.now()) or 1
  end

  local function due()
    local list = ready
    ready = {}
    for thread, at in pairs(sleeping) do
      if at <= core.now() then list[#list + 1] = { thread } end
    end
    for thread, fd in pairs(receiving) do
      if core.wait({ fd }, 0) > 0 then list[#list + 1] = { thread } end
    end
    for _, entry in ipairs(list) do sleeping[entry[1]], receiving[entry[1]] = nil, nil end
    return list
  end

  local function step()
    local fds = {}
    for _, fd in pairs(receiving) do fds[#fds + 1] = fd end
    core.wait(fds, patience())
    for _, entry in ipairs(due()) do resume((table.unpack or unpack)(entry)) end
  end

  function copas.running() return next(sleeping) or next(receiving) or #ready > 0 end

  return setmetatable(copas, { __call = function(_, f)
    copas.addthread(f)
    while copas.running() do step() end
  end })
end

describe("an adapter of a user's", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("for copas, as the page has it, serves and ends", function()
    local page = helper.read "docs/event-loops.md"
    local block = assert(page:match "```lua\n(local copas.-)```", "the page has no such program")
    block = block:gsub("localhost:9092", (helper.bootstrap():gsub("%%", "%%%%")))
    package.preload.copas = fake_copas
    package.preload.socket = package.preload.socket or function()
      return { gettime = require("strand.core").now }
    end
    local printed, say = {}, print
    rawset(_G, "print", function(...) printed[#printed + 1] = tostring((...)) end)
    local ok, problem = pcall(assert((loadstring or load)(block, "=the page")))
    rawset(_G, "print", say)
    package.preload.copas, package.loaded.copas = nil, nil
    assert(ok, problem)
    assert.matches("^strand.DeliveryReport %(orders/%d+/%d+%)$", printed[1])
  end)

  it("has its objects closed when the loop ends", function()
    local plain = strand.loop.plain.new()
    local changed, exit = {}, nil
    for name, value in pairs(plain.adapter) do changed[name] = value end
    function changed.on_exit(f) exit = f end
    local loop, topic = strand.loop.adapter(changed), helper.topic(1)
    local consumer = fixture.consumer { topics = { topic }, workers = 1 }
    assert(loop.start(consumer))
    local producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    local exit_consumer = exit
    assert(loop.start(producer))
    assert(producer:send { topic = topic, value = "v" })
    exit() -- while the producer's coroutine waits
    exit_consumer()
    assert.are.equal(1, producer:close().delivered)
    assert.is_table(consumer:close())
  end)

  it("leaves nothing when the loop is dropped with objects in it", function()
    local function drop()
      local plain = strand.loop.plain.new()
      local producer = assert(strand.producer {
        kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
      assert(plain.start(producer))
      plain.spawn(function() producer:send_wait { topic = helper.topic(1), value = "v" } end)
      for _ = 1, 3 do plain.step(0) end
      return setmetatable({ producer }, { __mode = "v" })
    end
    local weak = drop()
    helper.eventually(20, function()
      collectgarbage()
      return weak[1] == nil
    end)
  end)

  it("in a forked process serves nobody, and the parent goes on", function()
    local folder = fixture.folder()
    local ok = os.execute("cc -shared -fPIC -Wl,-z,nodelete -o " .. folder
      .. "/fork.so spec/support/fork.c")
    assert(ok == true or ok == 0)
    local child = helper.spawn([[
      local strand = require "strand"
      local fork = assert(package.loadlib(arg[2] .. "/fork.so", "spec_fork"))
      io.stdout:setvbuf "no"
      local plain = strand.loop.plain
      local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = arg[1] } })
      assert(plain.start(producer))
      plain.step(0)
      if not fork(true) then
        plain.spawn(function()
          local _, _, code = producer:send_wait { topic = "orders", value = "v" }
          print("forked: " .. tostring(code))
        end)
        for _ = 1, 3 do plain.step(0.01) end
        os.exit(0, true)
      end
      plain.spawn(function()
        assert(producer:send_wait { topic = "orders", value = "v" })
        print("parent: " .. producer:close().delivered)
      end)
      plain.run()
    ]], helper.bootstrap(), folder)
    child:says("forked: FORKED", 20)
    child:says("parent: 1", 20)
    assert.equal(0, child:wait(), child:errors())
  end)
end)
