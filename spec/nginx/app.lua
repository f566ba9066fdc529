-- What the specs' nginx does: app.open() in init_worker_by_lua, the rest in phases of requests.
-- Values are "KEY:NUMBER" (spec/support/arrivals.lua), keys of each worker its own.
local core = require "strand.core"
local strand = require "strand"

local app = { reports = 0, failed = 0 }

local KEYS = 20

local phases = {}

--- A producer, served unless 'served' is false, with that quit_timeout. Other options as of
--- strand.producer.
function app.open(options)
  options = options or {}
  local served, quit_timeout = options.served ~= false, options.quit_timeout
  options.served, options.quit_timeout = nil, nil
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = options.kafka["bootstrap.servers"] or app.broker
  app.producer = assert(strand.producer(options))
  app.sent = {}
  if served then
    assert(require "strand.loop.resty".start(app.producer, { quit_timeout = quit_timeout }))
  end
  return app.producer
end

--- For options: counts what on_delivery is told.
function app.on_delivery(report)
  app.reports = app.reports + 1
  if report.error then app.failed = app.failed + 1 end
end

local function key_of(i)
  return ("w%dk%d"):format(ngx.worker.pid(), i % KEYS)
end

--- The next record of a key -> its key, its value
function app.next(i, padding)
  local key = key_of(i)
  app.sent[key] = (app.sent[key] or 0) + 1
  return key, ("%s:%d%s"):format(key, app.sent[key], padding and " " .. padding or "")
end

--- Sends so many. -> how many were accepted; the first refusal's message, code
function app.send(topic, count, padding)
  local accepted, why, code = 0, nil, nil
  for i = 1, count do
    local key, value = app.next(i, padding)
    local ok, message, refused = app.producer:send { topic = topic, key = key, value = value }
    if ok then accepted = accepted + 1 else why, code = why or message, code or refused end
  end
  return accepted, why, code
end

--- "accepted N message code", as an answer
function app.answer_send(topic, count, padding)
  local accepted, why, code = app.send(topic, count, padding)
  ngx.print("accepted ", accepted, why and " " .. why or "", code and " " .. code or "")
end

--- Until the worker is told to end, and the producer is served no more; 'late' counts who has come
--- here, and has "rests" then.
function app.await_rest()
  ngx.shared.late:incr("count", 1, 0)
  while not app.producer.loop.resting do ngx.sleep(0.01) end
  ngx.shared.late:set("rests", true)
end

--- After that sends one, and waits for it.
function app.send_late(topic)
  app.await_rest()
  local key, value = app.next(0)
  local report, message = app.producer:send_wait { topic = topic, key = key, value = value }
  return report and "acknowledged" or message
end

local function tell_when_over()
  local loop = app.producer.loop
  while not loop.quits_at or core.now() < loop.quits_at + 0.5 do ngx.sleep(0.01) end
  ngx.shared.late:set("over", true)
end

--- Sends one and waits for it, and flushes, while quit_timeout passes; 'late' has "over" after that.
-- -> what came of both, timers that were begun meanwhile
function app.wait_over_quit(topic)
  ngx.shared.late:incr("count", 1, 0)
  local at, timers = ngx.timer.at, 0
  ngx.timer.at = function(...)
    timers = timers + 1
    return at(...)
  end
  ngx.thread.spawn(tell_when_over)
  local flush = ngx.thread.spawn(function() return app.producer:flush(20) end)
  local key, value = app.next(0)
  local report, message = app.producer:send_wait { topic = topic, key = key, value = value,
    timeout = 20 }
  local _, flushed = ngx.thread.wait(flush)
  return report and "acknowledged" or message, tostring(flushed), timers
end

--- Sends here, and tries what waits; /tried shows what came of it, by phase.
function app.try(topic)
  local function record()
    local key, value = app.next(0)
    return { topic = topic, key = key, value = value }
  end
  local said = {}
  local function say(name, ok, _, code) said[#said + 1] = name .. " " .. tostring(ok and true or code) end
  say("send", app.producer:send(record()))
  say("send_wait", app.producer:send_wait(record()))
  say("wait", assert(app.producer:send_async(record())):wait(20))
  say("flush", app.producer:flush(20))
  phases[ngx.get_phase()] = table.concat(said, " ")
end

function app.tried()
  local list = {}
  for phase, said in pairs(phases) do list[#list + 1] = phase .. ": " .. said end
  table.sort(list)
  return table.concat(list, "\n")
end

-- One of so many light threads, each with a key of its own.
local function share(topic, thread, count, seen)
  local last = -1
  for n = 1, count do
    local report = assert(app.producer:send_wait { topic = topic, key = "t" .. thread,
      value = ("t%d:%d"):format(thread, n) })
    assert(report.offset > last and not seen[report.offset], "out of order, or told twice")
    last, seen[report.offset] = report.offset, true
  end
end

--- So many light threads of this request send so many each, and wait for each.
function app.share(topic, threads, count)
  local list, seen, places = {}, {}, 0
  for i = 1, threads do list[i] = ngx.thread.spawn(share, topic, i, count, seen) end
  for _, thread in ipairs(list) do assert(ngx.thread.wait(thread)) end
  for _ in pairs(seen) do places = places + 1 end
  ngx.print(("%d reports, %d places, in order"):format(threads * count, places))
end

--- Bytes that no compressor and no string hash has an easy time with.
function app.random(size)
  local bytes = {}
  for i = 1, size do bytes[i] = string.char(math.random(32, 126)) end
  return table.concat(bytes)
end

--- A hundred small ones, and in their middle one of that size -> "N accepted, CODE"
function app.among(topic, size)
  local accepted, code = app.send(topic, 50), nil
  local ok, _, refused = app.producer:send { topic = topic, key = "large", value = ("large:1 %s")
    :format(app.random(size)) }
  if ok then accepted = accepted + 1 else code = refused end
  accepted = accepted + app.send(topic, 50)
  ngx.print(("%d accepted, %s"):format(accepted, tostring(code)))
end

--- Records that lack something.
function app.nils(topic)
  for _, record in ipairs { { key = "k" }, { value = "v" }, {}, { key = "", value = "" },
    { key = "k", value = "v" } } do
    record.topic = topic
    assert(app.producer:send_wait(record))
  end
  ngx.print "ok"
end

--- So many at once to the producer whose queue is small -> how many it took, the first refusal's code
function app.overflow(topic, count)
  local accepted, code = 0, nil
  for i = 1, count do
    local ok, _, refused = app.few:send { topic = topic, key = "k", value = "k:" .. i }
    if ok then accepted = accepted + 1 else code = code or refused end
  end
  ngx.print(accepted, " ", tostring(code))
end

--- Another producer, served, for whoever asks.
function app.second(options)
  options.kafka = { ["bootstrap.servers"] = app.broker }
  local producer = assert(strand.producer(options))
  assert(require "strand.loop.resty".start(producer))
  return producer
end

return app
