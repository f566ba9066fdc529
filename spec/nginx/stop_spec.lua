-- What a worker of nginx says at a stop (TERM) whose broker is frozen, before nginx kills it: what was
-- not delivered, and what was not done, of each object.
local arrivals = require "spec.support.arrivals"
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local strand = require "strand"

local PARTITIONS, RECORDS, SENT = 2, 20, 1000
local CONSUMERS, PRODUCERS = 3, 3 -- of worker 0; another has one producer

local HTTP = [[
  lua_shared_dict seen 1m;
  init_worker_by_lua_block {
    local strand, seen, first = require "strand", ngx.shared.seen, ngx.worker.id() == 0
    local kafka = { ["bootstrap.servers"] = "BROKER" }
    producers = {}
    for n = 1, first and PRODUCERS or 1 do
      producers[n] = assert(strand.producer { kafka = kafka })
      assert(strand.loop.resty.start(producers[n]))
    end
    for n = 1, first and CONSUMERS or 0 do
      assert(strand.loop.resty.start(assert(strand.consumer {
        kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP" .. n },
        topics = { "TOPIC" }, workers = 0,
        handler = function(record)
          seen:incr("running", 1, 0)
          ngx.sleep(3600)
        end,
      })))
    end
    -- Each knows its broker before that is frozen.
    ngx.timer.at(0, function()
      for _, producer in ipairs(producers) do
        assert(producer:send_wait { topic = "OTHER", value = "k:0", timeout = 60 })
        seen:incr("delivered", 1, 0)
      end
      repeat ngx.sleep(0.05) until seen:get "send"
      for _, producer in ipairs(producers) do
        for n = 1, SENT do assert(producer:send { topic = "OTHER", value = "k:" .. n }) end
        seen:incr("sent", 1, 0)
      end
    end)
  }
  EXIT
]]

local SERVER = [[
  location / { content_by_lua_block {
    ngx.print(tostring(ngx.shared.seen:get(ngx.var.uri:sub(2))))
  } }
  location /let_send { content_by_lua_block { ngx.shared.seen:set("send", true) } }
]]

local LINE = [[
  exit_worker_by_lua_block { require("strand.loop.resty").exit() }
]]

-- One that has needed longer than 1.5 s, and is done when others are not.
local EARLIER = [[
  exit_worker_by_lua_block {
    if ngx.worker.id() == 1 then producers[1]:close { timeout = 2.1 } end
    require("strand.loop.resty").exit()
  }
]]

describe("a worker of nginx that is stopped while its broker is frozen", function()
  local server, topic, other

  setup(fixture.open)
  teardown(fixture.close)

  after_each(function()
    helper.kafka_thaw()
    nginx.close()
  end)

  local function produce()
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    for n = 1, RECORDS do assert(producer:send { topic = topic, key = "k" .. n, value = "v" }) end
    assert(producer:flush(60))
    producer:close()
  end

  local function is(name, value)
    server:await(name .. " = " .. value, function()
      return server:ask("/" .. name) == tostring(value)
    end)
  end

  -- All handlers run, and all producers have sent, to a broker that is frozen.
  local function start(workers, exit)
    topic, other = helper.topic(PARTITIONS), helper.topic(PARTITIONS)
    produce()
    server = nginx.start { workers = workers, http = HTTP, server = SERVER, words = { EXIT = exit,
      TOPIC = topic, OTHER = other, GROUP = helper.name "group", SENT = SENT, PRODUCERS = PRODUCERS,
      CONSUMERS = CONSUMERS } }
    local producers = PRODUCERS + workers - 1
    is("delivered", producers)
    is("running", CONSUMERS * RECORDS)
    helper.kafka_freeze()
    server:ask "/let_send"
    is("sent", producers)
  end

  -- The numbers that stand before a text in its log, and their sum.
  local function said(text)
    local list, sum = {}, 0
    for count in server:errors():gmatch("(%d+) " .. text) do
      list[#list + 1], sum = tonumber(count), sum + count
    end
    return list, sum
  end

  -- It ends within 3 s, where the machine has the time for it.
  local function stop_and_check(producers, lines)
    local seconds = server:stop()
    helper.kafka_thaw()
    local undone, lost, sum = said "records were not done", said "records were not delivered"
    assert.same({ CONSUMERS, lines }, { #undone, #lost }, server:errors())
    for _, count in ipairs(undone) do assert.equal(RECORDS, count) end
    assert.is_true(sum >= producers * (SENT + 1) - arrivals.read(other, PARTITIONS).arrived)
    assert.is_true(seconds < 3 + helper.late, ("%.2f s"):format(seconds))
  end

  it("has told what each of its objects leaves, before it is killed", function()
    start(1, LINE)
    stop_and_check(PRODUCERS, PRODUCERS)
  end)

  it("has told that also without the line, by the collector", function()
    start(1, "")
    stop_and_check(PRODUCERS, PRODUCERS)
  end)

  -- nginx kills all others when one ends later than 1.5 s after the stop.
  it("does not end before another one has told it", function()
    start(2, EARLIER)
    stop_and_check(PRODUCERS + 1, PRODUCERS + 1)
  end)
end)
