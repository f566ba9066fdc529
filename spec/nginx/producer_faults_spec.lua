-- What the producer that people use in nginx today loses, doubles, reorders or reports wrongly
-- (lua-resty-kafka 0.23): here each record arrives once and in order, or is told to be lost. Its
-- worker's ends are in producer_ends_spec. Behind a proxy, on a broker of its own.
-- STRAND_LONG=1: the numbers of make test-long.
local arrivals = require "spec.support.arrivals"
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local node = require "spec.support.node"
local strand = require "strand"

local LONG = os.getenv "STRAND_LONG"
local RECORDS = LONG and 20000 or 2000
local PARTITIONS = 2

local INIT = [[
  init_worker_by_lua_block {
    app = require "spec.nginx.app"
    app.broker = "PROXY"
    app.open { on_delivery = app.on_delivery }
    app.few = app.second { max_queued_records = 100 }
  }
]]
local SERVER = [[
  client_max_body_size 4m;
  location /send {
    content_by_lua_block { app.answer_send(ngx.var.arg_topic, tonumber(ngx.var.arg_n)) }
  }
  location /large {
    content_by_lua_block {
      app.answer_send(ngx.var.arg_topic, tonumber(ngx.var.arg_n), app.random(8000))
    }
  }
  location /among {
    content_by_lua_block { app.among(ngx.var.arg_topic, tonumber(ngx.var.arg_size)) }
  }
  location /nils { content_by_lua_block { app.nils(ngx.var.arg_topic) } }
  location /few { content_by_lua_block { app.overflow(ngx.var.arg_topic, 500) } }
  location /flush { content_by_lua_block { ngx.print(tostring(app.producer:flush(60))) } }
  location /reports { content_by_lua_block { ngx.print(app.reports, " ", app.failed) } }
]]

describe("a producer in nginx", function()
  local server, proxy, close_node, admin

  setup(function()
    proxy = require "spec.support.proxy".start()
    local address, _, close = node("advertised.listeners=PLAINTEXT://127.0.0.1:" .. proxy.port)
    close_node = close
    proxy:tell("to", address:match ":(%d+)")
    local behind = "127.0.0.1:" .. proxy.port
    admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = behind } })
    server = nginx.start { http = INIT, server = SERVER, words = { PROXY = behind } }
  end)

  teardown(function()
    nginx.close()
    admin:close()
    close_node()
    helper.end_children()
  end)

  local reported, failed_before = 0, 0

  -- Of 'count' more records than the last time on_delivery has heard. -> how many of them failed
  local function await_reports(count)
    reported = reported + count
    local all, failed
    server:await("reports", function()
      all, failed = server:ask "/reports":match "(%d+) (%d+)"
      return tonumber(all) == reported
    end)
    failed_before, failed = tonumber(failed), tonumber(failed) - failed_before
    return failed
  end

  local function has_arrived(topic, count)
    local found = arrivals.read(topic, PARTITIONS, admin)
    assert.same({ count, 0, 0 }, { found.arrived, found.doubled, found.inversions })
  end

  local function send(topic, count)
    assert.equal("accepted " .. count, server:ask(("/send?topic=%s&n=%d"):format(topic, count)))
  end

  it("loses nothing while its broker is away for 0.5 s and for 2 s", function()
    local topic = helper.topic_by(admin, "away", PARTITIONS)
    send(topic, RECORDS)
    for _, seconds in ipairs { 0.5, 2 } do
      proxy:tell "away"
      send(topic, RECORDS)
      helper.eventually(20, fixture.pause(seconds))
      send(topic, RECORDS)
      proxy:tell "back"
      send(topic, RECORDS)
    end
    assert.equal(0, await_reports(7 * RECORDS))
    has_arrived(topic, 7 * RECORDS)
  end)

  it("doubles nothing whose acknowledgement is lost, nine times", function()
    local topic = helper.topic_by(admin, "lost", PARTITIONS)
    for _ = 1, 9 do
      proxy:tell "cut"
      send(topic, RECORDS / 10)
      proxy:tell "await_cut"
    end
    assert.equal(0, await_reports(9 * RECORDS / 10))
    has_arrived(topic, 9 * RECORDS / 10)
  end)

  it("fails nothing whose acknowledgement is 4 s late", function()
    local topic = helper.topic_by(admin, "late", PARTITIONS)
    send(topic, 200)
    await_reports(200)
    proxy:tell "hold"
    send(topic, 200)
    helper.eventually(20, fixture.pause(4))
    proxy:tell "release"
    assert.equal(0, await_reports(200))
    has_arrived(topic, 400)
  end)

  it("sends records of 8 kB as fast as they come", function()
    local topic = helper.topic_by(admin, "large", PARTITIONS)
    assert.equal("accepted " .. RECORDS,
      server:ask(("/large?topic=%s&n=%d"):format(topic, RECORDS)))
    assert.equal(0, await_reports(RECORDS))
    has_arrived(topic, RECORDS)
  end)

  it("refuses what is too large for its client, and sends those beside it", function()
    local topic = helper.topic_by(admin, "among", PARTITIONS)
    assert.equal("100 accepted, MSG_SIZE_TOO_LARGE",
      server:ask(("/among?topic=%s&size=1500000"):format(topic)))
    assert.equal(0, await_reports(100))
    has_arrived(topic, 100)
  end)

  it("tells of each record that goes down with one that is too large for its topic", function()
    local topic = helper.topic_by(admin, "batch",
      { partitions = PARTITIONS, config = { ["max.message.bytes"] = "100000" } })
    assert.equal("101 accepted, nil",
      server:ask(("/among?topic=%s&size=200000"):format(topic)))
    local failed = await_reports(101)
    local found = arrivals.read(topic, PARTITIONS, admin)
    assert.same({ 101, 0, 0 }, { found.arrived + failed, found.doubled, found.inversions })
    assert.is_nil(found.seen["large:1"])
    send(topic, 100) -- it goes on
    assert.equal(0, await_reports(100))
  end)

  it("sends what has no value, no key, no time, and goes on", function()
    local topic = helper.topic_by(admin, "nils", 1)
    assert.equal("ok", server:ask("/nils?topic=" .. topic))
    local records = arrivals.records(topic, admin)
    local seen, now = {}, os.time()
    for i, record in ipairs(records) do
      seen[i] = ("%s %s"):format(tostring(record.key), tostring(record.value))
      assert.is_true(record.timestamp > now - 600 and record.timestamp < now + 600)
    end
    assert.same({ "k nil", "nil v", "nil nil", " ", "k v" }, seen)
  end)

  it("says which records its queue has no room for", function()
    local topic = helper.topic_by(admin, "few", PARTITIONS)
    server:ask("/few?topic=" .. topic)
    proxy:tell "hold"
    local accepted, code = server:ask("/few?topic=" .. topic):match "^(%d+) (%S+)$"
    proxy:tell "release"
    assert.equal("QUEUE_FULL", code)
    assert.is_true(tonumber(accepted) <= 100)
  end)
end)
