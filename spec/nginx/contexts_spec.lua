-- The contexts of nginx that handlers live in (lua/strand/loop/resty/contexts.lua): one that was
-- ended is noticed, one that lives is not taken for that, and there are no more than start() has
-- checked for.
local fixture = require "spec.support.fixture"
local nginx = require "spec.support.nginx"
local nginx_consumer = require "spec.support.nginx_consumer"

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
    assert.equal("nil", consumer:get "error")
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
    ]], { partitions = 4, directives = "lua_max_running_timers 7;",
      options = "deadline = 1, retry = { attempts = 1 }, exhausted = 'skip', max_in_flight = 128,",
      before = [[require("strand.loop.resty.contexts").KILLED_MOST = 1]] })
    assert.equal("true nil nil", consumer:get "started0")
    consumer:produce(keys(4000))
    consumer:is("done", "3900")
    consumer:is("record_failed", "100")
    assert.equal("nil", consumer:get "error")
    assert.is_true(tonumber(consumer:get "most") <= 7, consumer:get "most")
  end)
end)
