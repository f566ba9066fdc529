-- Where in nginx a producer can be opened, and what becomes of one that is right beside one that is
-- not. STRAND_LONG=1: the numbers of make test-long.
local arrivals = require "spec.support.arrivals"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local STARTS = os.getenv "STRAND_LONG" and 200 or 30
local WORKERS = 2

describe("a producer that is opened", function()
  after_each(nginx.close)

  -- One that was opened before the fork once kept another one, of a worker's own, from ever
  -- connecting: in one of 20 starts.
  it("in init_by_lua raises, and those of the workers deliver, at each start", function()
    local topic = helper.topic(1)
    for start = 1, STARTS do
      local server = nginx.start { workers = WORKERS, words = { TOPIC = topic },
        http = [[
          lua_shared_dict delivered 1m;
          init_by_lua_block {
            local kafka = { ["bootstrap.servers"] = "BROKER" }
            refused, why = pcall(require "strand".producer, { kafka = kafka })
          }
          init_worker_by_lua_block {
            assert(not refused and why:find("not in init_by_lua", 1, true), why)
            app = require "spec.nginx.app"
            app.broker = "BROKER"
            app.open()
            ngx.timer.at(0, function()
              assert(app.producer:send_wait { topic = "TOPIC", value = "v" })
              ngx.shared.delivered:incr("count", 1, 0)
            end)
          }
        ]],
        server = [[
          location /delivered { content_by_lua_block { ngx.print(ngx.shared.delivered:get "count" or 0) } }
        ]] }
      server:await("start " .. start, function()
        return server:ask "/delivered" == tostring(WORKERS)
      end)
      server:stop()
      assert.equal("", server:errors())
      nginx.close()
    end
  end)

  it("with lua_code_cache off raises in the second Lua state of a worker, and says why", function()
    local server = nginx.start { server = [[
      location /open {
        lua_code_cache off;
        content_by_lua_block {
          local ok, message = pcall(require "strand".producer, { log = function() end,
            kafka = { ["bootstrap.servers"] = "BROKER" } })
          ngx.print(ok and "opened" or message)
        }
      }
    ]] }
    assert.equal("opened", server:ask "/open")
    for _ = 1, 2 do
      assert.matches("strand.producer: another Lua state of this nginx worker has opened objects of "
        .. "strand: lua_code_cache is off", server:ask "/open", 1, true)
    end
  end)

  it("in a worker's own state keeps the states of requests from it at once", function()
    local server = nginx.start {
      http = [[
        init_worker_by_lua_block {
          app = require "spec.nginx.app"
          app.broker = "BROKER"
          app.open { served = false }
        }
      ]],
      server = [[
        location /open {
          lua_code_cache off;
          content_by_lua_block {
            ngx.print(select(2, pcall(require "strand".admin, {
              kafka = { ["bootstrap.servers"] = "BROKER" } })))
          }
        }
        location /again {
          content_by_lua_block {
            ngx.print(app.second({}):close().sent)
          }
        }
      ]] }
    assert.matches("strand.admin: another Lua state", server:ask "/open", 1, true)
    assert.equal("0", server:ask "/again")
  end)

  it("and served by nobody sends, and holds up no request that would wait", function()
    local topic = helper.topic(1)
    local server = nginx.start { words = { TOPIC = topic },
      http = [[
        init_worker_by_lua_block {
          app = require "spec.nginx.app"
          app.broker = "BROKER"
          app.open { served = false }
        }
      ]],
      server = [[
        location /try { content_by_lua_block { app.try "TOPIC" ngx.print(app.tried()) } }
        location /close {
          content_by_lua_block {
            local report, message, code = app.producer:close()
            ngx.print(tostring(report), " ", code, " ", message)
          }
        }
      ]] }
    assert.equal("content: send true send_wait CANNOT_WAIT wait CANNOT_WAIT flush CANNOT_WAIT",
      server:ask "/try")
    assert.equal("nil CANNOT_WAIT close(): it would wait, and hold up nginx: have it served by "
      .. "strand.loop.resty.start", server:ask "/close")
    server:quit()
    assert.equal(2, #arrivals.records(topic))
  end)
end)
