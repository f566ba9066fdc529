-- The contexts of nginx that handlers live in (lua/strand/loop/resty/contexts.lua): one that was
-- ended is noticed, one that lives is not taken for that, and there are no more than start() has
-- checked for.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local nginx_consumer = require "spec.support.nginx_consumer"
local sockets = require "spec.support.sockets"

local keys = nginx_consumer.keys

-- Holds the worker up for so many seconds, and moves its clock on: timers that have become due
-- meanwhile fire before whatever was posted before.
local BLOCK = [[
  function block(seconds)
    ngx.update_time()
    local ends = ngx.now() + seconds
    repeat ngx.update_time() until ngx.now() >= ends
  end
]]

describe("contexts of handlers in nginx", function()
  teardown(fixture.close)
  setup(fixture.open)
  after_each(nginx.close)

  it("are noticed when they were ended, whoever has got their Lua threads since", function()
    local consumer = nginx_consumer.start([[
      if record.key == "ends" and record.attempt == 1 then
        ngx.timer.at(0.01, function()
          for n = 1, 20 do
            ngx.timer.at(0, function() repeat ngx.sleep(0.05) until seen:get "open" end)
          end
        end)
        real_exit(200)
      end
      ngx.sleep(record.attempt == 1 and 3600 or 0)
      seen:incr("done", 1, 0)
    ]], { options = "retry = { delay = 0.01 }, max_in_flight = 10," })
    consumer:is("assigned", "1")
    consumer:produce { { key = "a" }, { key = "b" }, { key = "ends" } }
    consumer:is("done", "3")
    assert.matches("context of the handler was ended, by ngx.exit%(%)", consumer:get "record_failed a")
    assert.matches("context of the handler was ended, by ngx.exit%(%)", consumer:get "record_failed ends")
    consumer:set("open", "yes")
  end)

  it("are not taken for ended while others hold the worker up", function()
    local consumer = nginx_consumer.start([[
      seen:incr("begun", 1, 0)
      repeat ngx.sleep(0.1) until seen:get "open"
      if record.key == "blocks" then block(3) end
      seen:incr("done", 1, 0)
    ]], { options = "retry = { attempts = 1 }, exhausted = 'skip', max_in_flight = 200,", before = BLOCK,
      server = [[
        location /block {
          content_by_lua_block {
            for n = 1, 12 do ngx.timer.at(n / 10, function() block(1.1) end) end
          }
        }
      ]] })
    consumer:is("assigned", "1")
    local records = keys(150)
    records[#records + 1] = { key = "blocks" }
    consumer:produce(records)
    consumer:is("begun", "151")
    consumer.server:ask "/block"
    consumer:set("open", "yes")
    consumer:is("done", "151")
    assert.equal("nil", consumer:get "record_failed")
    assert.equal("nil", consumer:get "error nil")
    assert.equal("151", consumer:get "begun")
  end)

  it("are no more than start() has checked for, while handlers hang beyond their deadline", function()
    local consumer = nginx_consumer.start([[
      local timers = ngx.timer.running_count()
      if timers > (seen:get "most" or 0) then seen:set("most", timers) end
      if tonumber(record.value) % 40 == 0 then
        seen:incr("hung", 1, 0)
        ngx.sleep(3600)
      end
      ngx.sleep(0.1)
      seen:incr("done", 1, 0)
    ]], { partitions = 4, directives = "lua_max_running_timers 10;",
      options = "deadline = 1, retry = { attempts = 1 }, exhausted = 'skip', max_in_flight = 320,",
      before = [[require("strand.loop.resty.contexts").KILLED_MOST = 1]] })
    assert.equal("true nil nil", consumer:get "started0")
    consumer:produce(keys(8000))
    consumer:is("done", "7800")
    consumer:is("record_failed", "200")
    assert.equal("nil", consumer:get "error nil")
    assert.is_true(tonumber(consumer:get "most") <= 10, consumer:get "most")
  end)

  -- Two may be given up at once here: each is held by a handler that never ends.
  it("say that they cannot be given up, while handlers that never end hold those that were", function()
    local stays = helper.topic(1)
    local topic = helper.topic(1)
    local consumer = nginx_consumer.start("ngx.sleep(3600)", { topic = topic,
      options = ("topics = { %q, %q }, handler = { [%q] = handler, [%q] = { handler, deadline = 0.3 } },")
        :format(topic, stays, stays, topic)
        .. "retry = { attempts = 1 }, exhausted = 'skip', max_in_flight = 64,",
      before = [[
        local contexts = require("strand.loop.resty.contexts")
        contexts.KILLED_MOST, contexts.KILLED_TOLD = 1, 3
      ]] })
    for n = 1, 20 do
      nginx_consumer.produce_to(stays, { { key = "k" .. n, value = "v" } })
      consumer:produce { { key = "k" .. n, value = "v" } }
      consumer:is("record_failed", tostring(n))
      if consumer:get "error nil" ~= "nil" then break end
    end
    assert.matches("%d+ handlers were killed in a context that cannot be given up", consumer:get "error nil")
  end)

  it("fail the record whose light thread nginx has ended, and no other", function()
    local consumer = nginx_consumer.start([[
      if record.key == "ends" then real_wrap(function() error "in a coroutine" end)() end
      ngx.sleep(record.key == "stays" and 3 or 0)
      seen:incr("done", 1, 0)
    ]], { options = "retry = { attempts = 1 }, exhausted = 'skip', max_in_flight = 10,",
      before = "real_wrap = coroutine.wrap" })
    consumer:is("assigned", "1")
    consumer:produce { { key = "stays" }, { key = "ends", value = "1" }, { key = "ends", value = "2" } }
    consumer:is("record_failed", "2")
    assert.matches("nginx has ended the light thread of the handler", consumer:get "record_failed ends")
    consumer:is("done", "1")
    assert.equal("nil", consumer:get "record_failed stays")
  end)

  it("let nobody be woken by threads that a handler before it has left", function()
    local consumer = nginx_consumer.start([[
      if record.key == "leaves" then
        local first = ngx.thread.spawn(function() ngx.sleep(0.01) end)
        local second = ngx.thread.spawn(function()
          repeat ngx.sleep(0.01) until seen:get "second"
        end)
        assert(ngx.thread.wait(first, second))
      else
        seen:incr("begun", 1, 0)
        local semaphore = require "ngx.semaphore".new(0)
        ngx.timer.at(0, function()
          repeat ngx.sleep(0.01) until seen:get "posted"
          semaphore:post()
        end)
        local ok, problem = semaphore:wait(60)
        assert(seen:get "posted", "woken by another's")
        assert(ok, problem)
      end
      seen:incr("done", 1, 0)
    ]], { options = "retry = { attempts = 1 }, exhausted = 'skip', max_in_flight = 1," })
    consumer:is("assigned", "1")
    consumer:produce { { key = "leaves" }, { key = "next" } }
    consumer:is("begun", "1")
    consumer:set("second", "yes")
    helper.eventually(10, fixture.pause(0.3))
    consumer:set("posted", "yes")
    consumer:is("done", "2")
    assert.equal("nil", consumer:get "record_failed next")
  end)

  describe("with sockets", function()
    local port, before, consumer

    local function connected()
      local clients = helper.output(("redis-cli -p %d info clients"):format(port))
      return tonumber(clients:match "connected_clients:(%d+)")
    end

    before_each(function()
      port = sockets.redis_port()
      before = connected()
      consumer = nginx_consumer.start([[
        if record.value == "hangs" then
          local redis = require("nginx.redis"):new()
          assert(redis:connect("127.0.0.1", redis_port))
          kept[redis] = true -- else it may be collected, and closed, before
          ngx.sleep(3600)
        end
        ngx.sleep(0.2)
        seen:incr("done", 1, 0)
      ]], { before = "kept = {} redis_port = " .. port, options = "deadline = 2, retry = { attempts = 1 },"
        .. "exhausted = 'skip', max_in_flight = 64," })
      consumer:is("assigned", "1")
    end)

    local function hanging(count)
      local records = {}
      for n = 1, count do records[n] = { key = "h" .. n, value = "hangs" } end
      return records
    end

    local function have_failed(count)
      consumer:is("record_failed", tostring(count))
      assert.matches("deadline", consumer:get "record_failed h1")
    end

    it("keep those of killed handlers until they are given up, and then close them", function()
      consumer:produce(keys(40))
      consumer:is("done", "40") -- whose light threads wait for more
      consumer:produce(hanging(10))
      have_failed(10)
      assert.equal(before + 10, connected())
      consumer:produce(hanging(10))
      have_failed(20)
      consumer.server:await("their end", function() return connected() == before end)
      assert.equal("nil", consumer:get "error nil")
    end)

    it("are given up for killed handlers though the others always have more to do", function()
      local records = hanging(20)
      for _, record in ipairs(keys(2000)) do records[#records + 1] = record end
      consumer:produce(records)
      have_failed(20)
      consumer.server:await("their end", function() return connected() == before end)
      consumer:is("done", "2000")
    end)
  end)
end)
