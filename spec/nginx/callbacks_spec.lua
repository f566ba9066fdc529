-- A callback in nginx that ends its context, by an ngx.exit() kept from before start: the object is
-- served anew, and all of that can be heard.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local HTTP = [[
  lua_shared_dict seen 1m;
  lua_max_running_timers 12;
  init_by_lua_block { real_exit = ngx.exit }
  init_worker_by_lua_block {
    local strand = require "strand"
    seen = ngx.shared.seen
    local function sleeper() repeat ngx.sleep(0.05) until seen:get "open" end
    local function on_delivery(report)
      seen:incr("reports", 1, 0)
      if report.key == "raise" then error "an error" end
      if report.key == "fill" then
        for _ = 1, 12 do ngx.timer.at(0, sleeper) end
      end
      if report.key then real_exit(200) end
    end
    producer = assert(strand.producer {
      kafka = { ["bootstrap.servers"] = "BROKER", ["client.id"] = "orders" }, on_delivery = on_delivery,
      CALLBACK
    })
    assert(strand.loop.resty.start(producer))
  }
]]

local ON_EVENT = [[
  on_event = function(event)
    seen:incr("told", 1, 0)
    seen:set("event", event.code .. " " .. event.reason)
  end,
]]
local LOG = [[
  log = function(level, facility, message)
    local first = message:find("was ended", 1, true) and seen:incr("told", 1, 0) == 1
    if first or facility == "on_delivery" then real_exit(200) end
  end,
]]

local SERVER = [[
  location / { content_by_lua_block {
    ngx.print(tostring(ngx.shared.seen:get(ngx.var.uri:sub(2))))
  } }
  location /open { content_by_lua_block { ngx.shared.seen:set("open", true) } }
  location /send { content_by_lua_block {
    assert(producer:send { topic = "TOPIC", key = ngx.var.arg_key, value = "v" })
  } }
  location /health { content_by_lua_block {
    local ok, reason, code = require("strand.loop.resty").health()
    ngx.print(ok and "well" or code .. " " .. reason)
  } }
]]

describe("in nginx a callback that ends its context", function()
  local server

  setup(fixture.open)
  teardown(fixture.close)
  after_each(nginx.close)

  local function start(callback)
    server = nginx.start { http = HTTP, server = SERVER, words = { TOPIC = helper.topic(1),
      CALLBACK = callback } }
  end

  local function is(name, value)
    server:await(name .. " = " .. value, function() return server:ask("/" .. name) == value end)
  end

  it("is told, and the object served anew", function()
    start(ON_EVENT)
    for n = 1, 3 do
      server:ask "/send?key=k"
      is("reports", tostring(2 * n - 1))
      server:ask "/send"
      is("reports", tostring(2 * n))
      is("told", tostring(n))
    end
    assert.matches("NGINX the context in which callbacks .* was ended, by ngx.exit%(%)", server:ask "/event")
    assert.equal("well", server:ask "/health")
    server:quit(30)
    assert.equal(0, server:status())
  end)

  it("is a reason not to be well, as long as nobody serves", function()
    start(ON_EVENT)
    server:ask "/send?key=fill"
    is("reports", "1")
    server:await("its health", function()
      return server:ask "/health":match "^NOT_SERVED worker %d+: orders: .*was ended, by ngx.exit%(%)"
    end)
    server:ask "/send"
    server:ask "/open"
    is("reports", "2")
    is("health", "well")
  end)

  it("in the log keeps nobody from noticing the next", function()
    start(LOG)
    for n = 1, 3 do
      server:ask "/send?key=raise"
      is("reports", tostring(n))
      is("told", tostring(n + 1)) -- the first line about it has ended it again
    end
  end)
end)
