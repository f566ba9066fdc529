-- Handlers of local mode that talk to real servers, in each event loop: on the
-- mock cluster, or on a real one (scripts/kafka run). Run by scripts/redis run.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local sockets = require "spec.support.sockets"

local RECORDS, KEYS, PARTITIONS = 8000, 2000, 4
local IN_FLIGHT = 1000
local LIMIT = 120 -- seconds

local function fill(topic)
  local records = {}
  for i = 0, RECORDS - 1 do
    records[i + 1] = { key = ("key-%d"):format(i % KEYS), value = ("%d"):format(math.floor(i / KEYS) + 1) }
  end
  fixture.produce(topic, records)
end

-- Runs a consumer in the loop until each record has ended once.
-- handle(record): in a coroutine of the loop; after(): the same, at the end.
local function consume(loop, handle, after)
  local talk, topic, report = sockets[loop], helper.topic(PARTITIONS), nil
  local ended, failures = 0, {}
  fill(topic)
  local consumer = fixture.consumer { topics = { topic }, workers = 0, max_in_flight = IN_FLIGHT,
    retry = { attempts = 1 }, on_event = function(event)
      if event.type == "record_failed" then failures[#failures + 1] = event.reason end
    end,
    handler = function(record)
      handle(record)
      ended = ended + 1
    end }
  talk.run(LIMIT, function()
    assert(require("strand.loop." .. loop).start(consumer, talk.loop()))
    while ended < RECORDS and #failures == 0 do talk.sleep(0.05) end
    report = assert(consumer:close())
    after()
  end)
  assert.same({}, failures)
  assert.equal(RECORDS, report.done)
  assert.equal(RECORDS, ended)
  assert.same({}, report.unfinished)
end

for _, loop in ipairs { "cqueues", "luv" } do
  describe("handlers in " .. loop, function()
    local talk = sockets[loop]

    setup(function()
      -- The loop's own descriptors stay.
      talk.run(10, function() talk.connect(sockets.redis_port()):close() end)
      fixture.open()
    end)
    after_each(fixture.clear)
    teardown(fixture.close)

    -- The first thousand wait in the server until a thousand are there.
    it("talk to Redis, a thousand at once, those of a key one after another", function()
      local prefix, pool = helper.name "list", sockets.pool(talk, sockets.redis_port())
      local running, most, opened = 0, 0, false

      local function pass_gate(connection)
        if opened then return end
        if running < IN_FLIGHT then
          assert(sockets.redis(connection, "BLPOP", prefix .. ":gate", 60))
          return
        end
        opened = true
        local tokens = {}
        for i = 1, IN_FLIGHT do tokens[i] = i end
        sockets.redis(connection, "RPUSH", prefix .. ":gate", (table.unpack or unpack)(tokens))
      end

      consume(loop, function(record)
        running = running + 1
        most = math.max(most, running)
        local connection, key = pool.take(), ("%s:%s"):format(prefix, record.key)
        assert(sockets.redis(connection, "INCR", key .. ":open") == 1, "two of a key at once")
        pass_gate(connection)
        sockets.redis(connection, "RPUSH", key, record.value)
        assert(sockets.redis(connection, "DECR", key .. ":open") == 0, "two of a key at once")
        pool.give(connection)
        running = running - 1
      end, function()
        local connection = pool.take()
        for i = 0, KEYS - 1 do
          local list = sockets.redis(connection, "LRANGE", ("%s:key-%d"):format(prefix, i), 0, -1)
          assert.same({ "1", "2", "3", "4" }, list)
        end
        pool.close()
      end)
      assert.equal(IN_FLIGHT, most)
    end)

    it("talk to an HTTP server, a thousand at once, those of a key one after another", function()
      local server = helper.spawn("require 'spec.support.web'.main(tonumber(arg[1]))", IN_FLIGHT)
      server:says "port "
      local pool = sockets.pool(talk, tonumber(server:output():match "port (%d+)"))
      local told
      consume(loop, function(record)
        local connection = pool.take()
        local status, body = sockets.post(connection, ("/%s/%s"):format(record.key, record.value))
        pool.give(connection)
        assert(status == 200, body)
      end, function()
        told = select(2, sockets.post(pool.take(), "/report"))
        pool.close()
      end)
      assert.equal(("served %d most %d wrong 0"):format(RECORDS, IN_FLIGHT), told)
    end)
  end)
end
