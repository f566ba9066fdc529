-- How long a consumer keeps nginx's loop from others: by the CPU that the worker takes between two
-- waits of it (spec/support/slices.c), so that others on the machine do not count.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local strand = require "strand"

local COUNT = 20000
local MOST = 2000 -- microseconds

local HTTP = [[
  init_worker_by_lua_block {
    local strand = require "strand"
    require "ffi".cdef "int usleep (unsigned);"
    done = 0
    consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP" },
      topics = { "TOPIC" }, workers = 0,
      handler = function()
        HANDLER
        done = done + 1
      end,
    })
    assert(strand.loop.resty.start(consumer))
  }
]]

local SERVER = [[ location /done { content_by_lua_block { ngx.print(done) } } ]]

describe("nginx's loop", function()
  local library, topic

  setup(function()
    fixture.open()
    library = helper.folder() .. "/slices.so"
    local built = os.execute("cc -std=gnu11 -Wall -Wextra -shared -fPIC -o " .. library
      .. " spec/support/slices.c -ldl")
    assert(built == true or built == 0)
    topic = helper.topic(4)
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    for n = 1, COUNT do assert(producer:send { topic = topic, key = tostring(n), value = "v" }) end
    assert(producer:flush(60))
    producer:close()
  end)
  after_each(nginx.close)
  teardown(fixture.close)

  -- -> microseconds, in order
  local function slices_with(handler)
    local file = helper.folder() .. "/slices"
    local server = nginx.start { main = "env STRAND_SLICES;", http = HTTP, server = SERVER,
      environment = ("LD_PRELOAD=$PWD/%s STRAND_SLICES=$PWD/%s"):format(library, file),
      words = { TOPIC = topic, GROUP = helper.name "group", HANDLER = handler } }
    server:await("all records", function() return tonumber(server:ask "/done") == COUNT end)
    server:quit()
    assert.equal("", server:errors())
    local slices = {}
    for line in helper.read(file):gmatch "%d+" do slices[#slices + 1] = tonumber(line) end
    return slices
  end

  local longest = 0

  local COMPUTE = "local began = os.clock() repeat until os.clock() - began > 0.0001"

  for name, handler in pairs { ["compute"] = COMPUTE, ["wait for a millisecond"] = "ngx.sleep(0.001)" } do
    it("is given back within max_slice by handlers that " .. name, function()
      local slices = slices_with(handler)
      local p99 = slices[math.ceil(#slices * 0.99)]
      longest = math.max(longest, p99)
      assert.is_true(p99 <= MOST, ("%d us, of %d turns"):format(p99, #slices))
    end)
  end

  -- It is no nginx socket that they wait for: the thread itself does.
  it("has its turn while handlers block", function()
    local BLOCKING = 2000
    local turns = #slices_with(('if done < %d then require "ffi".C.usleep(1000) end'):format(BLOCKING))
    assert.is_true(turns > BLOCKING / 2, ("%d turns"):format(turns))
  end)

  teardown(function() print(("figure nginx_slice_p99_ms %.2f"):format(longest / 1000)) end)
end)
