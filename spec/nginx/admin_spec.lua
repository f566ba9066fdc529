-- An admin that nginx serves answers requests, and holds up no worker that is to end.
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local HTTP = [[
  init_worker_by_lua_block {
    local strand = require "strand"
    admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = "BROKER" } })
    assert(strand.loop.resty.start(admin))
  }
  exit_worker_by_lua_block { require("strand.loop.resty").exit() }
]]

local SERVER = [[
  location / {
    content_by_lua_block {
      local cluster = assert(admin:describe { topics = { "TOPIC" } })
      ngx.print(cluster.topics["TOPIC"] and "there")
    }
  }
]]

describe("an admin in nginx", function()
  after_each(nginx.close)

  it("answers, and its worker ends at a reload and at a quit", function()
    local server = nginx.start { http = HTTP, server = SERVER, words = { TOPIC = helper.topic(1) } }
    assert.equal("there", server:ask "/")
    server:await_gone(server:reload(), 30)
    assert.equal("there", server:ask "/")
    server:quit(30)
    assert.equal(0, server:status())
    assert.equal("", server:errors())
  end)
end)
