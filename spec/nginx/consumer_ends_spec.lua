-- How a consumer in nginx ends: with its worker, in the middle of its records, and none is lost.
-- STRAND_LONG=1: the numbers of make test-long.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local strand = require "strand"

local COUNT, KEYS = os.getenv "STRAND_LONG" and 50000 or 5000, 100
local IN_FLIGHT = 200
local COMMIT_INTERVAL, WORK = 0.5, 0.05 -- seconds
-- A killed worker's records that are handled again: those in flight, one of a key, and what was done
-- since its last commit, which its answer makes older: by a second and a half on a busy machine.
local KILLED_MOST = KEYS + KEYS / 2 / WORK * (COMMIT_INTERVAL + 1.5)

-- What was done is in a file: it outlives whoever is killed.
local HTTP = [[
  EXIT
  init_worker_by_lua_block {
    local strand = require "strand"
    local journal = assert(io.open("JOURNAL", "a"))
    journal:setvbuf "no"
    consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP",
        ["session.timeout.ms"] = 6000 },
      topics = { "TOPIC" }, workers = 0, max_in_flight = IN_FLIGHT, commit_interval = COMMIT_INTERVAL,
      handler = function(record)
        HANDLER
        journal:write(record.key .. " " .. record.value .. "\n") -- whole: others write too
      end,
    })
    assert(strand.loop.resty.start(consumer, STARTED))
  }
]]

local EXIT = [[exit_worker_by_lua_block { require("strand.loop.resty").exit() }]]

local SERVER = [[
  location / { content_by_lua_block { ngx.print(consumer:stats().in_flight) } }
  location /crowd {
    content_by_lua_block {
      for _ = 1, 80 do assert(ngx.timer.at(3600, function() ngx.sleep(0.1) end)) end
    }
  }
]]

describe("a consumer in nginx", function()
  local server, topic, group, journal

  local lost, inversions = 0, 0

  setup(fixture.open)
  teardown(function()
    print(("figure nginx_consumer_lost %d"):format(lost))
    print(("figure nginx_inversions %d"):format(inversions))
    fixture.close()
  end)
  after_each(nginx.close)

  before_each(function()
    topic, group = helper.topic(4), helper.name "group"
    journal = helper.output "pwd":match "[^\n]+" .. "/" .. helper.folder() .. "/journal"
    helper.write(journal, "")
  end)

  local function produce()
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    for n = 0, COUNT - 1 do
      assert(producer:send { topic = topic, key = tostring(n % KEYS), value = ("%d"):format(n / KEYS) })
    end
    assert(producer:flush(60))
    producer:close()
  end

  local function start(given)
    given = given or {}
    server = nginx.start { workers = given.workers, http = HTTP, server = SERVER, words = {
      TOPIC = topic, GROUP = group, JOURNAL = journal, EXIT = given.exit or "",
      IN_FLIGHT = IN_FLIGHT, COMMIT_INTERVAL = COMMIT_INTERVAL, STARTED = given.started or "nil",
      HANDLER = given.handler or "ngx.sleep(0.01)",
    } }
  end

  -- -> records that were done, repetitions, records that were done before one of their key that
  -- precedes them
  local function books()
    local done, distinct, repeated, inverted = {}, 0, 0, 0
    for key, value in helper.read(journal):gmatch "(%d+) (%d+)\n" do
      local n = tonumber(value)
      done[key] = done[key] or {}
      if done[key][n] then
        repeated = repeated + 1
      else
        if n > 0 and not done[key][n - 1] then inverted = inverted + 1 end
        done[key][n], distinct = true, distinct + 1
      end
    end
    return distinct, repeated, inverted
  end

  local function until_done(count)
    server:await(count .. " records", function() return (books()) >= count end, 120)
  end

  local function check(repeated_most)
    local distinct, repeated, inverted = books()
    lost, inversions = lost + COUNT - distinct, inversions + inverted
    assert.equal(COUNT, distinct)
    assert.equal(0, inverted)
    assert.is_true(repeated <= repeated_most, ("%d were handled twice, %d at most expected"):format(
      repeated, repeated_most))
  end

  it("finishes at a quit what it has begun, commits and leaves, and says nothing", function()
    produce()
    start()
    until_done(COUNT / 5)
    server:quit()
    assert.equal(0, server:status())
    assert.equal("", server:errors())
    start()
    until_done(COUNT)
    check(0)
  end)

  it("goes over to the next worker at a reload", function()
    produce()
    start()
    until_done(COUNT / 5)
    server:reload()
    until_done(COUNT * 3 / 5)
    server:reload()
    until_done(COUNT)
    check(0)
    server:quit()
    assert.equal("", server:errors())
  end)

  -- nginx starts all timers at once then, and those of a site may take all that may run.
  it("finishes at a quit that nginx does not tell it of", function()
    produce()
    start { exit = "lua_max_running_timers 40;" }
    until_done(COUNT / 5)
    server:ask "/crowd"
    server:quit(30)
    assert.equal(0, server:status())
    assert.matches("loop/resty.lua:%d+: 40 lua_max_running_timers are not enough", server:errors())
    start()
    until_done(COUNT)
    check(0)
  end)

  for name, exit in pairs { ["with the line of exit_worker_by_lua"] = EXIT, ["without it"] = "" } do
    it("loses nothing at a stop, " .. name, function()
      produce()
      start { exit = exit }
      until_done(COUNT / 5)
      assert.is_true(server:stop() < 3)
      assert.equal(0, server:status())
      assert.matches(exit == "" and "collected without close%(%), .*: %d+ records were not done"
        or "the worker has ended: %d+ records were not done", server:errors())
      assert.is_nil(server:errors():match "signal")
      start()
      until_done(COUNT)
      check(IN_FLIGHT) -- what ran
    end)
  end

  it("loses nothing when a worker is killed", function()
    produce()
    start { workers = 2, handler = ("ngx.sleep(%g)"):format(WORK) }
    until_done(COUNT / 5)
    server:kill_worker(server:workers()[1])
    until_done(COUNT)
    check(KILLED_MOST)
    server:quit()
    assert.equal(0, server:status())
  end)

  it("gives handlers up that outlast quit_timeout, with their threads, and the worker ends", function()
    produce()
    start { started = "{ quit_timeout = 2 }", handler = [[
      if record.value == "3" then
        ngx.thread.spawn(function() ngx.sleep(3600) end)
        ngx.sleep(3600)
      end
    ]] }
    server:await("handlers that sleep", function() return tonumber(server:ask "/") == KEYS end)
    server:quit(30)
    assert.equal(0, server:status())
    start()
    until_done(COUNT)
    check(KEYS * 3)
  end)
end)
