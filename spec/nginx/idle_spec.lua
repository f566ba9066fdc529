-- More workers of nginx than partitions: those for which none is left say so, with the numbers.
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local WORKERS, PARTITIONS = 4, 2

local HTTP = [[
  init_worker_by_lua_block {
    local strand = require "strand"
    local function start(group, options)
      local consumer = assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = group, ["session.timeout.ms"] = 6000 },
        topics = { "TOPIC" }, workers = 0, handler = function() end,
      })
      return strand.loop.resty.start(consumer, options)
    end
    assert(start "GROUP")
    start("GROUP-alone", { only_worker = 0 })
  }
]]

local SERVER = [[
  location /health { content_by_lua_block {
    local ok, reason = require "strand.loop.resty".health()
    ngx.print(ok and "well" or reason)
  } }
]]

describe("workers of nginx for which no partition is left", function()
  after_each(nginx.close)

  it("say so, with the numbers; one worker alone does not", function()
    local server = nginx.start { workers = WORKERS, http = HTTP, server = SERVER, words = {
      TOPIC = helper.topic(PARTITIONS), GROUP = helper.name "group" } }
    local text = ("member 0: member_idle: no partition is left for it: the group has %d members, "
      .. "and the topics have %d partitions (MEMBER_IDLE)"):format(WORKERS, PARTITIONS)
    local function said()
      local count, other = 0, nil
      for line in server:errors():gmatch "[^\n]+" do
        if line:find(text, 1, true) then count = count + 1
        elseif line:find "member_idle" then other = line end
      end
      return count, other
    end
    server:await("warnings", function() return said() >= WORKERS - PARTITIONS end, 120)
    assert.equal("well", server:ask "/health") -- it is no trouble
    assert.equal(WORKERS - PARTITIONS, (said()))
    assert.is_nil(select(2, said()))
  end)
end)
