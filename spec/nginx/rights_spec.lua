-- Workers of nginx that have few rights, as those of a server have.
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

-- What they need is loaded by the master: they may not be allowed to read that, either.
local LOADED = [[
  init_by_lua_block {
    strand = require "strand"
    require "strand.loop.resty"
    bridge_of = require "strand.core".bridge
  }
]]

describe("a worker of nginx that is nobody", function()
  after_each(nginx.close)

  -- A file of the spec's own, which nobody else may read; its owner neither, where that is not root.
  local function unreadable()
    local path = helper.output "pwd":match "[^\n]+" .. "/" .. helper.folder() .. "/key.pem"
    helper.write(path, "a key")
    assert(os.execute("chmod 000 " .. path))
    return path
  end

  it("is told the file that it may not read, and of which property it is", function()
    local path = unreadable()
    local server = nginx.start { user = "nobody", words = { PATH = path }, http = LOADED,
      server = [[
        location /open {
          content_by_lua_block {
            local what, name = ngx.var.arg_what, ngx.var.arg_name
            local options = { kafka = { ["bootstrap.servers"] = "BROKER",
              ["security.protocol"] = "ssl", [name] = "PATH" } }
            if what == "consumer" then
              options.kafka["group.id"] = "g"
              options.topics, options.workers, options.handler = { "t" }, 0, function() end
            end
            ngx.print(select(2, pcall(strand[what], options)))
          }
        }
      ]] }
    for _, what in ipairs { "consumer", "producer", "admin" } do
      for _, name in ipairs { "ssl.ca.location", "ssl.key.location", "ssl.keystore.location" } do
        assert.matches(("option 'kafka': property '%s': '%s': Permission denied"):format(name, path),
          server:ask(("/open?what=%s&name=%s"):format(what, name)), 1, true)
      end
    end
    assert.equal("", server:errors())
  end)

  -- A folder that the master had made would be root's. It is there until the worker connects: what the
  -- worker finds before, or why not, is in a file. -> server, the file's path
  local function made_below(given)
    local seen = nginx.socket_folder "777" .. "/seen"
    local server = nginx.start { user = "nobody", main = given.main, environment = given.environment,
      words = { OPTIONS = given.options or "{}", SEEN = seen }, http = LOADED .. [[
        init_worker_by_lua_block {
          local core = require "strand.core"
          core.bridge = function(parent)
            local bridge, message, code = bridge_of(parent)
            os.execute("{ id -u; stat -c '%a %u %n' " .. parent .. "/strand-*; } > SEEN 2>&1")
            return bridge, message, code
          end
          local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = "BROKER" } })
          started = { strand.loop.resty.start(producer, OPTIONS) }
        }
      ]],
      server = [[
        location /started { content_by_lua_block {
          ngx.print(tostring(started[1]), " ", started[3], " ", started[2]) } }
      ]] }
    return server, seen
  end

  it("makes the folder of its socket itself, below TMPDIR or socket_dir, for itself alone", function()
    for _, given in ipairs {
      function(path) return { options = ("{ socket_dir = %q }"):format(path) } end,
      function(path) return { main = "env TMPDIR;", environment = "TMPDIR=" .. path } end,
    } do
      local path = nginx.socket_folder "777"
      local server, seen = made_below(given(path))
      assert.matches("^true", server:ask "/started")
      local uid, mode, owner, made = helper.read(seen):match "^(%d+)\n(%d+) (%d+) (%S+)\n$"
      assert.same({ "700", uid, path .. "/strand-" }, { mode, owner, made and made:sub(1, -7) },
        helper.read(seen))
      server:await("the end of the folder", function()
        return helper.output("ls -A " .. path) == ""
      end)
      assert.equal("", server:errors())
      nginx.close()
    end
  end)

  it("is told the folder in which it may make none", function()
    local path = nginx.socket_folder "555"
    local server = made_below { options = ("{ socket_dir = %q }"):format(path) }
    assert.matches(("nil SOCKET a folder for a Unix socket cannot be made below %s: Permission denied")
      :format(path), server:ask "/started", 1, true)
  end)
end)
