-- Inside nginx: where strand may be opened, and when a worker ends. By Debian's nginx and its Lua
-- module, which is LuaJIT's; the phases alone, and a worker's end, played, under every Lua.
local helper = require "spec.support.helper"
local strand = require "strand"

local OPENERS = { "consumer", "producer", "admin", "mock" }

-- What each needs, so that nothing else is wrong with it.
local OPTIONS = [[{
  consumer = { kafka = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" },
    topics = { "t" }, handler = "h", log = function() end },
  producer = { kafka = { ["bootstrap.servers"] = "127.0.0.1:1" }, log = function() end },
  admin = { kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } },
  mock = { brokers = 1 },
}]]

describe("a phase of nginx", function()
  local before, loaded

  before_each(function() before, loaded = rawget(_G, "ngx"), package.loaded.ngx end)
  after_each(function()
    rawset(_G, "ngx", before)
    package.loaded.ngx = loaded
  end)

  local function play(get_phase, config)
    rawset(_G, "ngx", { get_phase = get_phase, config = config })
    package.loaded.ngx = nil
  end

  local options = assert((loadstring or load)("return " .. OPTIONS))()

  it("before the fork is none to open in, and no thread starts", function()
    local threads = helper.threads()
    play(function() return "init" end)
    for _, name in ipairs(OPENERS) do
      local ok, message = pcall(strand[name], options[name])
      assert.is_false(ok)
      assert.matches("nginx_spec.lua:%d+: strand." .. name .. ": not in init_by_lua, after which",
        message)
    end
    assert.equal(threads, helper.threads())
  end)

  it("of stream { } is none to open in", function()
    play(function() return "init_worker" end, { subsystem = "stream" })
    for _, name in ipairs(OPENERS) do
      local ok, message = pcall(strand[name], options[name])
      assert.is_false(ok)
      assert.matches("nginx_spec.lua:%d+: strand." .. name .. ": in nginx only in http { }, not in stream",
        message)
    end
  end)

  it("behind it, or none that can be told, is one to open in", function()
    for _, get_phase in ipairs { function() return "init_worker" end, function() error "no phase" end,
      false } do
      play(get_phase)
      assert(strand.admin(options.admin)):close()
    end
  end)

  it("is none for run(), which would hold up nginx for good", function()
    play(function() return "timer" end)
    local consumer = assert(strand.consumer(options.consumer))
    for name, run in pairs { run = consumer.run, ["strand.run"] = strand.run } do
      local ok, message = pcall(run, consumer, { tick = error })
      assert.is_false(ok)
      assert.matches("nginx_spec.lua:%d+: " .. name .. "%(%): it would wait, and hold up nginx: have "
        .. "it served by strand.loop.resty.start", message)
    end
    consumer:close()
  end)

  it("is none to wait for callbacks in, while no loop serves them", function()
    play(function() return "timer" end)
    local consumer = assert(strand.consumer(options.consumer))
    local producer = assert(strand.producer(options.producer))
    for name, wait in pairs { step = function() consumer:step() end,
      poll = function() producer:poll(0.01) end } do
      local ok, message = pcall(wait)
      assert.is_false(ok)
      assert.matches("nginx_spec.lua:%d+: " .. name .. "%(%): it would wait, and hold up nginx", message)
    end
    assert.equal("NOT_STARTED", (select(3, consumer:step(0))))
    assert.is_number(producer:poll())
    consumer:close()
  end)
end)

-- Seconds after a stop: what ends later than the first ends all others, and nginx kills at the second;
-- so long each may need (lua/strand/nginx.lua).
local KILLS_OTHERS, KILLS = 1.55, 3.15
local CLOSE_WITHIN = 2.4

describe("a worker of nginx that ends", function()
  local before, loaded, time, workers, nginx

  -- Another copy of it, whose time is the spec's.
  local function load_nginx()
    local core, real = package.loaded["strand.core"], package.loaded["strand.nginx"]
    package.loaded["strand.nginx"] = nil
    package.loaded["strand.core"] = {
      now = function() return time end,
      wait = function(_, seconds) time = time + seconds end,
    }
    local ok, copy = pcall(require, "strand.nginx")
    package.loaded["strand.core"], package.loaded["strand.nginx"] = core, real
    return assert(ok and copy, copy)
  end

  before_each(function()
    before, loaded = rawget(_G, "ngx"), package.loaded.ngx
    rawset(_G, "ngx", { get_phase = function() return "exit_worker" end,
      worker = { count = function() return workers end } })
    package.loaded.ngx = nil
    time, nginx = 0, load_nginx()
  end)

  after_each(function()
    rawset(_G, "ngx", before)
    package.loaded.ngx = loaded
  end)

  -- It needs so long to close what it has. -> its end, in seconds after the stop
  local function ends_after(seconds)
    assert.equal(CLOSE_WITHIN, nginx.count_down())
    time = time + seconds
    nginx.await_others()
    return time
  end

  for _, seconds in ipairs { 0, 1.3, 1.5, 2, CLOSE_WITHIN, 2.5 } do
    it(("ends no other that has more time, when it needs %g s"):format(seconds), function()
      workers = 2
      local ends = ends_after(seconds)
      assert.is_true(ends < KILLS_OTHERS or ends > CLOSE_WITHIN and ends < KILLS, ends)
    end)
  end

  it("waits for nobody where it has ended early, or is alone", function()
    workers = 2
    assert.equal(1.25, ends_after(1.25))
    workers, time, nginx = 1, 0, load_nginx()
    assert.equal(2, ends_after(2))
  end)
end)

-- In the master everything is refused, and no thread is there. In a worker a record goes to a cluster
-- and is acknowledged, though nothing may wait in there.
local HTTP = [[
  init_by_lua_block {
    local strand = require "strand"
    local options = GIVEN
    local out = {}
    for _, name in ipairs { "consumer", "producer", "admin", "mock" } do
      local ok, message = pcall(strand[name], options[name])
      out[#out + 1] = name .. " " .. tostring(ok) .. " " .. tostring(message)
    end
    local status = io.open "/proc/self/status"
    out[#out + 1] = status:read "*a":match "Threads:%s*%d+"
    status:close()
    refused = table.concat(out, "\n") .. "\n"
  }
  init_worker_by_lua_block {
    local strand = require "strand"
    mock = assert(strand.mock { brokers = 1, topics = { t = 1 } })
    producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = mock.bootstrap_servers } })
    assert(producer:send { topic = "t", value = "v" })
    for _, method in ipairs { "send_wait", "flush", "close" } do
      local value, _, code = producer[method](producer, method == "send_wait"
        and { topic = "t", value = "v" } or nil)
      assert(value == nil and code == "CANNOT_WAIT", method)
    end
    assert(require "strand.loop.resty".start(producer))
    ngx.timer.at(0, function()
      local report = assert(producer:send_wait { topic = "t", value = "v", timeout = 20 })
      assert(producer:close().delivered == 2)
      mock:close()
      sent = "offset " .. report.offset
    end)
  }
]]

local SERVER = [[
  location /refused { content_by_lua_block { ngx.print(refused) } }
  location /sent { content_by_lua_block { ngx.print(tostring(sent)) } }
]]

if rawget(_G, "jit") then -- which is nginx's Lua
  local nginx = require "spec.support.nginx"

  describe("nginx itself", function()
    local server

    setup(function()
      server = nginx.start { http = HTTP, server = SERVER, words = { GIVEN = OPTIONS } }
    end)
    teardown(nginx.close)

    it("refuses to open anything in init_by_lua, before a thread starts", function()
      local text = server:ask "/refused"
      for _, name in ipairs(OPENERS) do
        assert.matches(name .. " false .*init_by_lua.-:%d+: strand." .. name .. ": not in init_by_lua", text)
      end
      assert.matches("Threads:%s*1\n", text)
    end)

    it("opens and sends in init_worker_by_lua, and waits in a timer alone", function()
      server:await("its record", function() return server:ask "/sent" == "offset 1" end)
    end)
  end)
end
