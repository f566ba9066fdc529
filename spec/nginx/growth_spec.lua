-- An nginx that has worked for long takes no more than after a while: memory, descriptors, and lines
-- in error.log. STRAND_LONG=1: the numbers of make test-long; STRAND_RECORDS: how many of them through
-- one worker.
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local LONG = os.getenv "STRAND_LONG"
local RECORDS = tonumber(os.getenv "STRAND_RECORDS" or LONG and 5e6 or 100000)
local LIVES, LIFE = LONG and 20 or 5, LONG and 30 or 2 -- seconds between two reloads
local AT_ONCE = 500 -- records of a request
local AHEAD = 20000 -- records that were sent and are not handled: what waits takes memory, too
local SAMPLES = 100 -- of memory, while so many records flow
-- MB of a million records. A short run has the swings of a collector in it: it sees one record in
-- ten that stays, of 1 KB and more.
local SLOPE_MOST = LONG and 1 or 100
local SPARE = 2 -- descriptors: a connection to a broker that is made anew

local HTTP = [[
  lua_shared_dict counts 1m;
  init_worker_by_lua_block {
    local strand = require "strand"
    app = require "spec.nginx.app"
    app.broker = "BROKER"
    app.open { on_delivery = app.on_delivery }
    local started = 0
    local consumer = assert(strand.consumer {
      -- what is fetched ahead is bounded far below what is looked for
      kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP",
        ["queued.max.messages.kbytes"] = 1024 },
      topics = { "TOPIC" }, workers = 0, max_in_flight = 100,
      handler = function()
        started = started + 1
        if started % 7 == 0 then ngx.sleep(0.001) end -- of each key some: none falls behind
        ngx.shared.counts:incr("handled", 1, 0)
      end,
    })
    assert(strand.loop.resty.start(consumer))
  }
  exit_worker_by_lua_block { require("strand.loop.resty").exit() }
]]

local SERVER = [[
  location /send {
    content_by_lua_block {
      local accepted, why = app.send("TOPIC", AT_ONCE - 1, ("x"):rep(100))
      assert(accepted == AT_ONCE - 1, why)
      local key, value = app.next(0)
      assert(app.producer:send_wait { topic = "TOPIC", key = key, value = value })
      ngx.print(ngx.shared.counts:incr("sent", AT_ONCE, 0) - (ngx.shared.counts:get "handled" or 0))
    }
  }
  location /behind {
    content_by_lua_block {
      ngx.print((ngx.shared.counts:get "sent" or 0) - (ngx.shared.counts:get "handled" or 0))
    }
  }
]]

-- ---- what is measured ------------------------------------------------------------

local function processes(server)
  local list = server:workers()
  list[#list + 1] = server.pid
  return list
end

-- MB of all of them; what they share is counted once.
local function memory(server)
  local sum = 0
  for _, pid in ipairs(processes(server)) do
    sum = sum + tonumber(helper.read(("/proc/%d/smaps_rollup"):format(pid)):match "\nPss: +(%d+) kB")
  end
  return sum / 1024
end

local function descriptors(server)
  local count = 0
  for _, pid in ipairs(processes(server)) do
    for name in require "lfs".dir(("/proc/%d/fd"):format(pid)) do
      if name:match "^%d+$" then count = count + 1 end
    end
  end
  return count
end

-- By least squares, of all but the first quarter: MB of a million records.
local function slope_of(samples)
  local n, x, y, xx, xy = 0, 0, 0, 0, 0
  for i = math.ceil(#samples / 4) + 1, #samples do
    local sent, mb = samples[i].sent / 1e6, samples[i].mb
    n, x, y, xx, xy = n + 1, x + sent, y + mb, xx + sent * sent, xy + sent * mb
  end
  return (n * xy - x * y) / (n * xx - x * x)
end

-- The most descriptors in the samples from the first to the last.
local function most_of(samples, first, last)
  local most = 0
  for i = first, last do most = math.max(most, samples[i].fds) end
  return most
end

describe("an nginx that works on", function()
  local server, sent, samples

  before_each(function()
    sent, samples = 0, {}
    server = nginx.start { http = HTTP, server = SERVER, words = { TOPIC = helper.topic(4),
      GROUP = helper.name "group", AT_ONCE = AT_ONCE } }
  end)
  after_each(nginx.close)

  local function caught_up(behind)
    server:await("handlers that catch up", function()
      return tonumber(server:ask "/behind") <= behind
    end, 120)
  end

  local function send()
    if tonumber(server:ask "/send") > AHEAD then caught_up(AHEAD / 2) end
    sent = sent + AT_ONCE
  end

  local function sample()
    samples[#samples + 1] = { sent = sent, mb = memory(server), fds = descriptors(server) }
  end

  local function check(name)
    caught_up(0)
    local slope, half = slope_of(samples), math.floor(#samples / 2)
    local first, last = most_of(samples, 1, half), most_of(samples, half + 1, #samples)
    print(("\nfigure nginx_%srecords %d\nfigure nginx_%smemory_mb %.1f\nfigure nginx_%smemory_slope_mb %.2f")
      :format(name, sent, name, samples[#samples].mb, name, slope))
    assert.is_true(slope < SLOPE_MOST, ("memory grows by %.2f MB with a million records"):format(slope))
    assert.is_true(last <= first + SPARE, ("descriptors: %d, then %d"):format(first, last))
    server:quit()
    assert.equal("", server:errors())
  end

  it("and is reloaded, grows by nothing, and says nothing", function()
    for _ = 1, LIVES do
      local till = os.time() + LIFE
      repeat send() until os.time() >= till
      sample()
      server:await_gone(server:reload())
    end
    check "reload_"
  end)

  it("in one worker grows by nothing, and says nothing", function()
    while sent < RECORDS do
      for _ = 1, math.ceil(RECORDS / SAMPLES / AT_ONCE) do send() end
      sample()
    end
    check ""
  end)
end)
