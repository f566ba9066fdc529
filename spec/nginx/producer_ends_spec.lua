-- A producer in nginx at the end of its worker: what was sent arrives, or is said to be lost.
-- STRAND_LONG=1: the numbers of make test-long.
local arrivals = require "spec.support.arrivals"
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local strand = require "strand"

local RECORDS = os.getenv "STRAND_LONG" and 50000 or 5000
local PARTITIONS = 4

local INIT = [[
  lua_shared_dict late 1m;
  init_worker_by_lua_block {
    app = require "spec.nginx.app"
    app.broker = "BROKER"
    app.open(OPTIONS)
  }
]]
local EXIT = [[
  exit_worker_by_lua_block { require("strand.loop.resty").exit() }
]]
local SEND = [[
  location /send { content_by_lua_block { app.answer_send("TOPIC", tonumber(ngx.var.arg_n)) } }
  location /late {
    content_by_lua_block { ngx.print(app.send_late "TOPIC") }
    log_by_lua_block { app.send("TOPIC", 1) }
  }
  location /late_quiet { content_by_lua_block {
    app.await_rest()
    repeat ngx.sleep(0.01) until ngx.shared.late:get "frozen"
    app.answer_send("TOPIC", 2000)
  } }
  location /late_leaves {
    lua_check_client_abort on;
    content_by_lua_block {
      app.await_rest()
      repeat ngx.sleep(0.01) until ngx.shared.late:get "frozen"
      ngx.shared.late:set("sends", true)
      app.producer:send_wait { topic = "TOPIC", key = "k", value = "k:1", timeout = 100 }
    }
    log_by_lua_block { ngx.shared.late:set("over", true) }
  }
  location /freeze { content_by_lua_block { ngx.shared.late:set("frozen", true) } }
  location /rests { content_by_lua_block { ngx.print(tostring(ngx.shared.late:get "rests")) } }
  location /sends { content_by_lua_block { ngx.print(tostring(ngx.shared.late:get "sends")) } }
  location /over { content_by_lua_block {
    local sent, flushed, timers = app.wait_over_quit "TOPIC"
    ngx.print(sent, ", flushed ", flushed, timers < 20 and "" or ", timers " .. timers)
  } }
  location /is_over { content_by_lua_block { ngx.print(tostring(ngx.shared.late:get "over")) } }
  location /leaves {
    lua_check_client_abort on;
    content_by_lua_block {
      ngx.shared.late:incr("count", 1, 0)
      app.producer:send_wait { topic = "TOPIC", key = "k", value = "k:1", timeout = 100 }
    }
    log_by_lua_block { ngx.shared.late:set("over", true) }
  }
  location /waiting { content_by_lua_block { ngx.print(ngx.shared.late:get "count" or 0) } }
]]

local function start(topic, given)
  given = given or {}
  return nginx.start { main = given.main, workers = given.workers,
    http = INIT .. (given.exit == false and "" or EXIT), server = SEND,
    words = { TOPIC = topic, OPTIONS = given.options or "" } }
end

local ENDS = {
  quit = function(server) server:quit() end,
  stop = function(server) server:stop() end,
  reload = function(server) server:await_gone(server:reload()) end,
}

describe("a producer in nginx, when its worker ends", function()
  after_each(function()
    helper.kafka_thaw()
    nginx.close()
  end)

  for _, how in ipairs { "quit", "reload", "stop" } do
    it(("by %s, has delivered all that was sent, each once and in order"):format(how), function()
      local lines, most = { [true] = "with", [false] = "without" }, 0
      for _, exit in ipairs { true, false } do
        local topic = helper.topic(PARTITIONS)
        local server = start(topic, { exit = exit })
        assert.equal("accepted " .. RECORDS, server:ask("/send?n=" .. RECORDS))
        ENDS[how](server)
        local found = arrivals.read(topic, PARTITIONS)
        local what = ("%s the line in exit_worker_by_lua"):format(lines[exit])
        assert.same({ RECORDS, 0, 0, what },
          { found.arrived, found.doubled, found.inversions, what })
        assert.equal("", server:errors())
        most = math.max(most, RECORDS - found.arrived)
        nginx.close()
      end
      print(("\nfigure nginx_arrived_after_%s %d"):format(how, RECORDS - most))
    end)
  end

  -- The master kills after 3 s: a worker that it had to kill has told nothing.
  local function not_killed(server)
    assert.not_matches("exited on signal", server:errors())
  end

  local function lost_by(server)
    local sum = 0
    for count in server:errors():gmatch "(%d+) records were not delivered" do
      sum = sum + tonumber(count)
    end
    return sum
  end

  local KINDS = {
    { "with the line", {} },
    { "with the line and on_delivery", { options = "{ on_delivery = app.on_delivery }" } },
    { "without the line", { exit = false } },
  }
  it("by stop and its broker frozen, says how many are lost before nginx kills it", function()
    for _, kind in ipairs(KINDS) do
      local topic = helper.topic(PARTITIONS)
      local server = start(topic, kind[2])
      server:ask "/send?n=10"
      helper.eventually(20, function() return arrivals.read(topic, PARTITIONS).arrived == 10 end)
      helper.kafka_freeze()
      assert.equal("accepted 2000", server:ask "/send?n=2000")
      server:stop()
      helper.kafka_thaw()
      not_killed(server)
      local found = arrivals.read(topic, PARTITIONS)
      assert.same({ kind[1], 0, 0 }, { kind[1], found.doubled, found.inversions })
      local lost = lost_by(server)
      assert.is_true(lost >= 2010 - found.arrived and lost <= 2000, -- some may arrive after all
        ("%s: %d of 2010 arrived, %d said to be lost"):format(kind[1], found.arrived, lost))
      nginx.close()
    end
  end)

  it("by stop, aborts the transactions of all its producers, and says so", function()
    local topic = helper.topic(1)
    local server = nginx.start { words = { TOPIC = topic, ID = helper.name "id" }, server = SEND, http = [[
      lua_shared_dict late 1m;
      init_worker_by_lua_block {
        local strand = require "strand"
        producers = {}
        for n = 1, 5 do
          producers[n] = assert(strand.producer { kafka = { ["bootstrap.servers"] = "BROKER" },
            transactional_id = "ID" .. n })
          assert(strand.loop.resty.start(producers[n]))
        end
        ngx.timer.at(0, function()
          for n, producer in ipairs(producers) do
            assert(producer:begin(60))
            assert(producer:send { topic = "TOPIC", key = "k", value = "k:" .. n })
            assert(producer:flush(60))
            ngx.shared.late:set("count", n)
          end
        end)
      }
    ]] .. EXIT }
    server:await("their records", function() return server:ask "/waiting" == "5" end)
    server:stop()
    not_killed(server)
    assert.equal(5, select(2, server:errors():gsub("closed in a transaction, which was aborted", "")))
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    assert(producer:send_wait { topic = topic, key = "after", value = "after:1", timeout = 30 })
    producer:close()
    -- None before it waits for the end of a transaction, by itself a minute: the broker writes its mark
    -- after it has answered.
    local records
    helper.eventually(20, function()
      records = arrivals.records(topic)
      return #records > 0
    end)
    assert.same({ 1, "after" }, { #records, records[1].key })
  end)

  -- Workers that are to end wait for a frozen broker for longer than a stop may take, and deliver.
  local function check_patience(server, topic, workers)
    helper.eventually(20, fixture.pause(4))
    assert.same(workers, server:workers "ending")
    helper.kafka_thaw()
    server:await_gone(workers)
    local found = arrivals.read(topic, PARTITIONS)
    assert.same({ 2010, 0, 0 }, { found.arrived, found.doubled, found.inversions })
    not_killed(server)
  end

  it("by quit, waits for a broker that is frozen, and has delivered all", function()
    local topic = helper.topic(PARTITIONS)
    local server = start(topic, { exit = false })
    server:ask "/send?n=10"
    helper.kafka_freeze()
    assert.equal("accepted 2000", server:ask "/send?n=2000")
    local workers = server:reload()
    check_patience(server, topic, workers)
  end)

  it("by reload, still serves requests that send, also where it had nothing to serve", function()
    local topic = helper.topic(PARTITIONS)
    local server = start(topic)
    local request = server:open "/late"
    server:await("the request", function() return server:ask "/waiting" == "1" end)
    local workers = server:reload()
    assert.same({ 200, "acknowledged" }, { request:answer() })
    server:await_gone(workers)
    assert.equal(2, arrivals.read(topic, PARTITIONS).arrived) -- that of the log phase, too
    assert.equal("", server:errors())
  end)

  it("by quit and its broker frozen, gives up when quit_timeout is over, and says so", function()
    local topic = helper.topic(PARTITIONS)
    local server = start(topic, { options = "{ quit_timeout = 1 }" })
    server:ask "/send?n=10"
    helper.kafka_freeze()
    assert.equal("accepted 2000", server:ask "/send?n=2000")
    server:quit(30)
    helper.kafka_thaw()
    local found = arrivals.read(topic, PARTITIONS)
    local lost = lost_by(server)
    assert.is_true(lost > 0 and lost >= 2010 - found.arrived,
      ("%d of 2010 arrived, %d said to be lost"):format(found.arrived, lost))
  end)

  local function is(server, path, value)
    server:await(path .. " = " .. value, function() return server:ask(path) == value end)
  end

  it("by reload, serves those that wait when quit_timeout is over until they are done", function()
    local topic = helper.topic(PARTITIONS)
    local server = start(topic, { options = "{ quit_timeout = 1 }" })
    server:ask "/send?n=10"
    helper.kafka_freeze()
    local request = server:open "/over"
    is(server, "/waiting", "1")
    local workers = server:reload()
    is(server, "/is_over", "true")
    helper.kafka_thaw()
    assert.same({ 200, "acknowledged, flushed true" }, { request:answer() })
    server:await_gone(workers)
    not_killed(server)
  end)

  it("by quit, waits for no request that its client has ended", function()
    local topic = helper.topic(PARTITIONS)
    local server = start(topic, { options = "{ quit_timeout = 1000 }" })
    server:ask "/send?n=10"
    helper.kafka_freeze()
    local request = server:open "/leaves"
    is(server, "/waiting", "1")
    request.socket:close()
    is(server, "/is_over", "true")
    helper.kafka_thaw()
    server:quit(40)
    assert.equal(11, arrivals.read(topic, PARTITIONS).arrived)
  end)

  -- A request that is still served when its worker quits and its producer has nothing to do any more.
  local function late(path, topic)
    local server = start(topic)
    server:ask "/send?n=10"
    local request = server:open(path)
    is(server, "/waiting", "1")
    local workers = server:reload()
    is(server, "/rests", "true")
    helper.kafka_freeze()
    server:ask "/freeze"
    return server, request, workers
  end

  it("by reload, waits for what a request sends that does not wait for it", function()
    local topic = helper.topic(PARTITIONS)
    local server, request, workers = late("/late_quiet", topic)
    assert.same({ 200, "accepted 2000" }, { request:answer() })
    check_patience(server, topic, workers)
  end)

  it("by reload, waits for no late request that its client has ended", function()
    local topic = helper.topic(PARTITIONS)
    local server, request, workers = late("/late_leaves", topic)
    is(server, "/sends", "true")
    request.socket:close()
    is(server, "/is_over", "true")
    helper.kafka_thaw()
    server:await_gone(workers, 30)
  end)
end)
