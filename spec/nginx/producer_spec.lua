-- A producer in nginx, in all phases that requests and workers have: what sends works in each, what
-- waits lets others be served meanwhile, or says that it cannot.
local arrivals = require "spec.support.arrivals"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local INIT = [[
  init_worker_by_lua_block {
    app = require "spec.nginx.app"
    app.broker = "BROKER"
    app.open { on_delivery = app.on_delivery }
    app.try "TOPIC"
  }
  upstream itself {
    server 0.0.0.1; # which the balancer replaces
    balancer_by_lua_block {
      app.try "TOPIC"
      assert(require "ngx.balancer".set_current_peer("127.0.0.1", PORT))
    }
  }
]]

local SERVER = [[
  server_rewrite_by_lua_block { if ngx.var.uri == "/balanced" then app.try "TOPIC" end }
  location /balanced { proxy_pass http://itself/count; }
  location /phases {
    set_by_lua_block $x { app.try "TOPIC" return "" }
    rewrite_by_lua_block { app.try "TOPIC" }
    access_by_lua_block { app.try "TOPIC" }
    content_by_lua_block {
      app.try "TOPIC"
      ngx.timer.at(0, function() app.try "TOPIC" end)
      ngx.print "ok"
    }
    header_filter_by_lua_block { app.try "TOPIC" }
    body_filter_by_lua_block { if ngx.arg[2] then app.try "TOPIC" end }
    log_by_lua_block { app.try "TOPIC" }
  }
  location /tried { content_by_lua_block { ngx.print(app.tried()) } }
  location /count { content_by_lua_block { ngx.print(app.reports, " ", app.failed) } }
  location /missing {
    content_by_lua_block {
      local report, _, code = app.producer:send_wait { topic = "MISSING", value = "v", timeout = 3 }
      ngx.print(report and "written" or code)
    }
  }
  location /shared { content_by_lua_block { app.share("TOPIC", 8, 25) } }
  location /raise {
    content_by_lua_block {
      local producer = app.second { on_delivery = function() error "of on_delivery" end }
      assert(producer:send { topic = "TOPIC", key = "k", value = "raise:1" })
      assert(producer:flush(20))
      ngx.print(producer:close().delivered, " ", producer:stats().sent)
    }
  }
]]

describe("a producer in nginx", function()
  local server, topic, missing

  setup(function()
    topic, missing = helper.topic(1), helper.name "missing"
    server = nginx.start { http = INIT, server = SERVER, words = { TOPIC = topic, MISSING = missing } }
  end)
  teardown(nginx.close)

  it("sends in every phase, and waits in those that can", function()
    assert.equal("ok", server:ask "/phases")
    server:ask "/balanced"
    local waits, cannot = "send_wait true wait true flush true",
      "send_wait CANNOT_WAIT wait CANNOT_WAIT flush CANNOT_WAIT"
    local expected = {}
    for phase, what in pairs { init_worker = cannot, set = cannot, server_rewrite = waits,
      rewrite = waits, access = waits, balancer = cannot, content = waits, timer = waits,
      header_filter = cannot, body_filter = cannot, log = cannot } do
      expected[#expected + 1] = phase .. ": send true " .. what
    end
    table.sort(expected)
    local tried = server:await("all phases", function()
      local text = server:ask "/tried"
      return select(2, text:gsub("\n", "")) == #expected - 1 and text
    end)
    assert.equal(table.concat(expected, "\n"), tried)
  end)

  it("has told on_delivery of each record, without a request's help", function()
    -- one send in each phase; send_async and send_wait are not for on_delivery
    server:await("its reports", function() return server:ask "/count" == "11 0" end)
  end)

  it("holds up nobody while a record waits for a topic that is not there", function()
    local request = server:open "/missing"
    for _ = 1, 5 do assert.equal("11 0", server:ask "/count") end
    assert.is_false(request:is_answered())
    local _, answer = request:answer()
    assert.equal("TIMED_OUT", answer)
  end)

  it("is shared by light threads of a request, and each has its own report", function()
    assert.equal("200 reports, 200 places, in order", server:ask "/shared")
  end)

  it("is one of several, with reports of its own, and survives what they raise", function()
    assert.equal("1 1", server:ask "/raise")
    assert.matches("error in on_delivery: .*of on_delivery", server:errors())
    assert.equal("ok", server:ask "/phases")
  end)

  it("has all of that in its topic, once", function()
    server:quit()
    local found = arrivals.read(topic, 1)
    assert.same({ 0, 0 }, { found.doubled, found.inversions })
  end)
end)
