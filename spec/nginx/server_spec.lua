-- The server that specs of nginx stand on (spec/support/nginx.lua).
local nginx = require "spec.support.nginx"

describe("an nginx of a spec", function()
  local server

  setup(function()
    server = nginx.start { workers = 2, words = { NAME = "strand" },
      http = [[
        lua_shared_dict seen 1m;
        init_by_lua_block { strand = require "NAME" }
      ]],
      server = [[
        location /version { content_by_lua_block { ngx.print(strand._VERSION) } }
        location /seen { content_by_lua_block { ngx.print(ngx.shared.seen:get "slow" or 0) } }
        location /slow {
          content_by_lua_block {
            ngx.shared.seen:incr("slow", 1, 0)
            ngx.sleep(0.2)
            ngx.print(ngx.worker.pid())
          }
        }
        location /warn { content_by_lua_block { ngx.log(ngx.WARN, "a warning") } }
      ]] }
  end)
  teardown(nginx.close)

  -- One that no worker has taken yet would be lost with its connection.
  local function slow_request()
    local before, request = tonumber(server:ask "/seen"), server:open "/slow"
    server:await("a request", function() return tonumber(server:ask "/seen") > before end)
    return request
  end

  it("has the module of this build, and answers", function()
    assert.equal(require "strand"._VERSION, server:ask "/version")
    assert.equal(404, (server:get "/nowhere"))
  end)

  it("has its workers, a new one for one that was killed, and new ones after a reload", function()
    local first = server:workers()
    assert.equal(2, #first)
    local second = server:kill_worker(first[1])
    assert.equal(2, #second)
    local slow = slow_request()
    server:reload()
    local status, pid = slow:answer()
    assert.equal(200, status)
    server:await_gone(second)
    assert.is_true(pid ~= "" and #server:workers() == 2)
  end)

  it("says what is in its error.log, and ends", function()
    server:ask "/warn"
    assert.matches("a warning", server:errors())
    local slow = slow_request()
    server:quit()
    assert.equal(200, (slow:answer()))
    assert.equal(0, server:status())
  end)
end)
