-- All workers in one answer: strand.loop.resty.stats() and .health().
local helper = require "spec.support.helper"
local json = require "cjson"
local nginx = require "spec.support.nginx"

-- A consumer of the group GROUP, whose handler does nothing; the producer sends for it.
local WORKER = [[
  init_worker_by_lua_block {
    local strand = require "strand"
    resty = strand.loop.resty
    consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP",
        ["session.timeout.ms"] = 6000 },
      topics = { "TOPIC" }, workers = 0, handler = function() end,
    })
    producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = "BROKER",
      ["client.id"] = "shop" } })
    assert(resty.start(consumer))
    assert(resty.start(producer))
  }
]]

local PAGES = [[
  location /stats { content_by_lua_block {
    ngx.print(require "cjson".encode(require("strand.loop.resty").stats()))
  } }
  location /health { content_by_lua_block {
    ngx.print(tostring(ngx.worker.pid()), " ", require "cjson".encode {
      require("strand.loop.resty").health() })
  } }
  location /send { content_by_lua_block {
    for i = 1, 100 do
      assert(producer:send_wait { topic = "TOPIC", key = "k" .. i, value = "v" })
    end
  } }
  location /block { content_by_lua_block {
    local file = io.open("FOLDER/blocked.new", "w")
    file:write(ngx.worker.pid())
    file:close()
    os.rename("FOLDER/blocked.new", "FOLDER/blocked")
    io.open("FOLDER/gate"):read "*a" -- as a handler that blocks its worker
  } }
  location /close { content_by_lua_block { consumer:close(); ngx.print(ngx.worker.pid()) } }
]]

local function start(options)
  local topic = helper.topic(4)
  local group = topic .. "-group"
  return nginx.start { workers = options.workers or 2, dict = options.dict,
    http = options.http or WORKER, server = PAGES, words = { TOPIC = topic, GROUP = group } }, group
end

local function stats_of(server) return json.decode(server:ask "/stats") end

-- -> pids, in rising order
local function pids_of(stats)
  local pids = {}
  for i, worker in ipairs(stats.workers) do pids[i] = worker.pid end
  return pids
end

-- Until the answer is such.
local function await(server, what, holds)
  local stats
  server:await(what, function()
    stats = stats_of(server)
    return holds(stats)
  end)
  return stats
end

-- -> pid that answered, what health() returned
local function health_of(server)
  local pid, text = server:ask "/health":match "^(%d+) (.*)$"
  return tonumber(pid), json.decode(text)
end

describe("all workers of nginx", function()
  local server, group

  setup(function() server, group = start {} end)
  teardown(nginx.close)

  local function has_workers(stats)
    return table.concat(pids_of(stats), " ") == table.concat(server:workers(), " ")
  end

  it("are in one answer, with sums", function()
    server:ask "/send"
    local stats = await(server, "100 records in the sums", function(stats)
      local consumer, producer = stats.consumers[group], stats.producers.shop
      return has_workers(stats) and consumer.done >= 100 and consumer.lag == 0 and consumer.partitions == 4
        and producer.delivered == 100
    end)
    assert.is_true(stats.shared)
    local done, partitions = 0, 0
    for _, worker in ipairs(stats.workers) do
      local own = worker.consumers[group]
      done, partitions = done + own.done, partitions + own.partitions
    end
    assert.equal(stats.consumers[group].done, done)
    assert.equal(4, partitions)
  end)

  it("are well when each of them is", function()
    server:await("health", function() return select(2, health_of(server))[1] == true end)
    assert.is_true(stats_of(server).consumers[group].ok)
  end)

  it("are those that live: one that was killed drops out, the new one is there", function()
    local killed = server:workers()[1]
    server:kill_worker(killed)
    for _, pid in ipairs(pids_of(stats_of(server))) do assert.not_equal(killed, pid) end
    await(server, "the new worker in the answer", has_workers)
  end)

  it("are the new ones after a reload, without a trace of the old ones", function()
    local before = server:reload()
    server:await_gone(before)
    await(server, "the new workers in the answer", has_workers)
  end)

  it("are not well when one of them stands still, and the others say which", function()
    await(server, "all workers", has_workers)
    local gate = server.folder .. "/gate"
    assert(os.execute("mkfifo " .. gate))
    local request = server:open "/block"
    -- It takes no connection any more, then.
    local blocked = helper.eventually(60, function() return helper.read(server.folder .. "/blocked") end)
    server:await("a stuck worker", function()
      local pid, health = health_of(server)
      return pid ~= tonumber(blocked) and health[3] == "STUCK_WORKER"
        and health[2]:match("^worker " .. blocked .. ": it has not told for %d+ s$")
    end)
    helper.write(gate, "on")
    assert.equal(200, (request:answer()))
    server:await("its sign of life", function() return select(2, health_of(server))[1] == true end)
  end)

  it("tell nothing of a consumer that was closed", function()
    local closed = tonumber(server:ask "/close")
    local stats = await(server, "the closed consumer to be gone", function(stats)
      local own = {}
      for _, worker in ipairs(stats.workers) do own[worker.pid] = worker.consumers[group] end
      return not own[closed] and next(own) ~= nil
    end)
    assert.equal(2, #stats.workers)
  end)
end)

describe("what could not be started", function()
  teardown(nginx.close)

  it("is told of, with the reason", function()
    local server = start { http = [[
      init_worker_by_lua_block {
        local strand = require "strand"
        consumer = assert(strand.consumer {
          kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP" },
          topics = { "TOPIC" }, workers = 1, handler = "no_such_module", log = false,
        })
        strand.loop.resty.start(consumer)
      }
    ]] }
    local _, health = health_of(server)
    assert.equal("HANDLER", health[3])
    assert.matches("^worker %d+: .*: .*no_such_module", health[2])
  end)

  it("may be a producer", function()
    local server = start { http = [[
      init_worker_by_lua_block {
        local strand = require "strand"
        producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = "BROKER" } })
        strand.loop.resty.start(producer, { socket_dir = "/nowhere" })
      }
    ]] }
    local _, health = health_of(server)
    assert.equal("SOCKET", health[3])
    assert.matches("^worker %d+: rdkafka: .*/nowhere", health[2])
  end)
end)

describe("a snapshot that is too large", function()
  teardown(nginx.close)

  it("leaves names out, and says how many", function()
    local server = start { http = [[
      init_worker_by_lua_block {
        local snapshot = require "strand.loop.resty.snapshot"
        for i = 1, 100 do
          snapshot.add(setmetatable({
            name = ("%03d"):format(i) .. ("x"):rep(300),
            core = { state = function() return "open" end },
            stats = function() return { sent = 1 } end,
          }, { serving = { noun = "producer" } }))
        end
      }
    ]] }
    local stats = await(server, "both workers", function(stats) return #stats.workers == 2 end)
    for _, worker in ipairs(stats.workers) do
      local names, longest = 0, 0
      for name in pairs(worker.producers) do names, longest = names + 1, math.max(longest, #name) end
      assert.equal(100, names + (worker.left_out or 0))
      assert.equal(256, longest)
    end
    local left_out = (stats.workers[1].left_out or 0) + (stats.workers[2].left_out or 0)
    assert.is_true(left_out > 0 and left_out < 100) -- who answers leaves nothing out
  end)
end)

describe("workers that serve nothing", function()
  teardown(nginx.close)

  it("are not well", function()
    local server = start { http = "init_by_lua_block { require 'strand' }" }
    local _, health = health_of(server)
    assert.equal("NOT_STARTED", health[3])
  end)
end)

describe("without the dictionary", function()
  teardown(nginx.close)

  it("an answer is its worker's alone, and says so, and start warns", function()
    local server, group = start { dict = false }
    local stats = stats_of(server)
    assert.is_false(stats.shared)
    assert.equal(1, #stats.workers)
    assert.is_truthy((" " .. table.concat(server:workers(), " ") .. " "):find(
      " " .. stats.workers[1].pid .. " ", 1, true))
    assert.is_table(stats.workers[1].consumers[group])
    local _, warnings = server:errors():gsub("no 'lua_shared_dict strand 1m;' in http { }", "")
    assert.equal(2, warnings)
  end)

  it("one worker alone needs none, and has no warning", function()
    local server, group = start { workers = 1, dict = false }
    assert.is_table(stats_of(server).consumers[group])
    assert.equal("", server:errors())
  end)
end)
