-- app.lua: what nginx's worker does in the benchmarks; bench/nginx/*.lua ask for it over HTTP
--
-- Functions that answer return text: "NAME VALUE", a line each.

local core = require "strand.core"
local meters = require "meter"
local peers = require "peers"
local probe = require "probe"
local strand = require "strand"

local app = {}

-- Consumers, and light threads without one --------------------------------------------

local done, running, most, sum = 0, 0, 0, 0 -- 'sum' of what ran when each began
local meter

--- A consumer, started; with 'records', the middle of them is measured. 'handler' waits.
function app.consume(broker, topic, max_in_flight, records, handler)
  meter = records and meters.new(records)
  app.consumer = assert(strand.consumer {
    kafka = { ["bootstrap.servers"] = broker,
      ["group.id"] = ("%s-%d-%.0f"):format(topic, max_in_flight, core.now() * 1e6) },
    topics = { topic }, workers = 0, max_in_flight = max_in_flight,
    handler = function(record)
      running = running + 1
      most, sum = math.max(most, running), sum + running
      handler(record)
      running = running - 1
      done = done + 1
      if meter then meter.count() end
    end,
  })
  assert(strand.loop.resty.start(app.consumer))
end

function app.sleep_100() ngx.sleep(0.1) end
function app.sleep_10() ngx.sleep(0.01) end

--- A handler: one call to Redis, whose connection it takes from a pool, has for so many seconds, and
--- gives back. On loopback the answer alone comes too soon for many to be in flight.
function app.redis(port, pool, seconds)
  local redis = require "nginx.redis"
  return function(record)
    local connection = redis:new()
    connection:set_timeout(60000)
    assert(connection:connect("127.0.0.1", port))
    ngx.sleep(seconds)
    assert(connection:set(record.key, "v"))
    assert(connection:set_keepalive(60000, pool))
  end
end

--- How many were done, and whether all that are measured are.
function app.done() return ("done %d\nover %d"):format(done, meter and meter.over() and 1 or 0) end

-- What was committed starts at 0, as in in_flight.lua.
local function check(report)
  local committed = 0
  for _, place in ipairs(report.committed) do committed = committed + place.offset end
  assert(report.done == done and report.failed == 0 and committed == done,
    "not every record was done once")
end

--- The measurement, how many ran at once at most and in the mean; the consumer is closed.
function app.measured()
  if app.consumer then check(assert(app.consumer:close())) end
  return meter.text() .. ("\nmost %d\nmean %.0f"):format(most, done > 0 and sum / done or 0)
end

local CONTEXT = 64 -- light threads of a timer, as strand's

-- Each sleeps once and ends; when those of a timer have, the next timer begins.
local function once(seconds, count, turns)
  local ended = 0
  local function body()
    ngx.sleep(seconds)
    meter.count()
    ended = ended + 1
    if ended == count and turns > 1 then
      assert(ngx.timer.at(0, function() once(seconds, count, turns - 1) end))
    end
  end
  for _ = 1, count do ngx.thread.spawn(body) end
end

-- Each sleeps again and again.
local function again(seconds, count, turns)
  local function body()
    for _ = 1, turns do
      ngx.sleep(seconds)
      meter.count()
    end
  end
  for _ = 1, count do ngx.thread.spawn(body) end
end

--- So many light threads that sleep, and no Kafka: "once" or "again".
function app.bare(how, threads, seconds, records)
  local turns, run = math.floor(records / threads), how == "once" and once or again
  meter = meters.new(turns * threads)
  for first = 1, threads, CONTEXT do
    local count = math.min(CONTEXT, threads - first + 1)
    assert(ngx.timer.at(0, function() run(seconds, count, turns) end))
  end
end

-- Sending ----------------------------------------------------------------------------

local KEYS, VALUES, BYTES = 10000, 1000, 100 -- send.lua's too
local REST = 0.001 -- seconds, where the queue is full

local function random_values()
  local urandom = assert(io.open("/dev/urandom", "rb"))
  local values = {}
  for i = 1, VALUES do values[i] = urandom:read(BYTES) end
  urandom:close()
  return values
end

local function send_each(peer, topic, count, keys, values)
  for i = 0, count - 1 do
    while not peer.send(topic, keys[i % KEYS + 1], values[i % VALUES + 1]) do ngx.sleep(REST) end
  end
  peer.flush()
end

--- As fast as it goes, after a tenth to warm what there is. CPU is the process's.
function app.send(peer, topic, records)
  local keys, values = {}, random_values()
  for i = 1, KEYS do keys[i] = ("key-%d"):format(i) end
  send_each(peer, topic, records / 10, keys, values)
  local _, cpu = probe.cpu()
  local start = core.now()
  send_each(peer, topic, records, keys, values)
  local seconds = core.now() - start
  local _, cpu_now = probe.cpu()
  return ("records %d\nseconds %.6f\ncpu %.6f"):format(records, seconds, cpu_now - cpu)
end

--- strand's producer whose reports are taken.
function app.with_reports(broker)
  local function on_delivery(report)
    if report.error then ngx.log(ngx.ERR, report.error) end
  end
  return peers.strand(broker, { on_delivery = on_delivery })
end

-- Faults -----------------------------------------------------------------------------

local FEW = 20 -- keys
local BEAT = 0.01 -- seconds
local numbers, refused = {}, {}

-- A key's next record -> key, value, id
local function next_of(key, bytes)
  numbers[key] = (numbers[key] or 0) + 1
  local id = key .. ":" .. numbers[key]
  if bytes == 0 then return key, id, id end
  local padding = {}
  for i = 1, bytes do padding[i] = string.char(math.random(33, 126)) end
  return key, id .. " " .. table.concat(padding), id
end

--- Sends so many, of so many bytes more; refusals count as told.
function app.publish(send, topic, count, bytes)
  for i = 1, count do
    local key, value, id = next_of("k" .. i % FEW, bytes or 0)
    if not send(topic, key, value, id) then refused[#refused + 1] = id end
  end
end

--- The same at a rate, for so many seconds.
function app.publish_paced(send, topic, per_second, seconds)
  local start = core.now()
  local sent = 0
  repeat
    local due = math.floor(math.min(core.now() - start, seconds) * per_second)
    app.publish(send, topic, due - sent)
    sent = due
    ngx.sleep(BEAT)
  until sent == per_second * seconds
end

--- So many light threads share it; each sends so many, and waits for each.
function app.share(send_wait, topic, threads, count)
  local list = {}
  for i = 1, threads do
    list[i] = ngx.thread.spawn(function()
      for _ = 1, count do
        local key, value, id = next_of("t" .. i, 0)
        if not send_wait(topic, key, value) then refused[#refused + 1] = id end
      end
    end)
  end
  for _, thread in ipairs(list) do assert(ngx.thread.wait(thread)) end
end

--- "sent KEY COUNT" of each key, "told ID" of each that is known to be lost.
function app.books(peer)
  local lines = {}
  local function tell(id) lines[#lines + 1] = "told " .. id end
  for key, count in pairs(numbers) do lines[#lines + 1] = ("sent %s %d"):format(key, count) end
  for _, id in ipairs(refused) do tell(id) end
  peer.lost(tell)
  return table.concat(lines, "\n")
end

return app
