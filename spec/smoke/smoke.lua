-- What every Lua must be able to do, without busted: scripts/test runs this
-- under those that the other specs do not run under.
--   LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/lua5.1/?.so;;' lua5.1 spec/smoke/smoke.lua
local strand = require "strand"

local RECORDS, KEYS, WORKERS, PARTITIONS = 200, 10, 4, 3
local passed = 0

local function check(title, ok, message)
  if not ok then
    io.stderr:write("failed: ", title, message and ": " .. tostring(message) or "", "\n")
    print(("%d passed, 1 failed"):format(passed))
    os.exit(1)
  end
  passed = passed + 1
end

local function raises(text, call, ...)
  local ok, message = pcall(call, ...)
  check("raises: " .. text, not ok and tostring(message):find(text, 1, true), message)
end

-- ---- without a cluster ------------------------------------------------------

check("has versions", strand._VERSION:match "^%d+%.%d+%.%d+$"
  and strand.librdkafka_version:match "^%d+%.%d+")

raises("unknown option 'wrokers' (did you mean 'workers'?)", strand.consumer, { wrokers = 3 })
raises("option 'handler'", strand.consumer, {
  kafka = { ["bootstrap.servers"] = "localhost:9092", ["group.id"] = "smoke" },
  topics = { "orders" },
})
raises("option 'kafka'", strand.producer, {})

local text = assert(strand.metadata.encode(100, 110, { { 100, 102 }, { 105, 105 } }))
local decoded = assert(strand.metadata.decode(100, text))
check("metadata survives", decoded.highest == 110 and #decoded.incomplete == 2
  and decoded.incomplete[1][1] == 100 and decoded.incomplete[1][2] == 102
  and decoded.incomplete[2][1] == 105 and decoded.incomplete[2][2] == 105)
local nothing, problem, code = strand.metadata.decode(100, "no metadata")
check("bad metadata is told", nothing == nil and type(problem) == "string"
  and code == "BAD_FORMAT", code)

-- ---- records in -------------------------------------------------------------

local mock = assert(strand.mock { brokers = 1, topics = { smoke = PARTITIONS } })
local servers = mock.bootstrap_servers

local delivered = 0
local producer = assert(strand.producer {
  kafka = { ["bootstrap.servers"] = servers },
  on_delivery = function(report)
    if not report.error then delivered = delivered + 1 end
  end,
})
for n = 1, RECORDS do
  assert(producer:send { topic = "smoke", key = "key-" .. n % KEYS, value = tostring(n),
    headers = { { "kind", "smoke" }, { "empty", "" }, { "absent" } } })
end
check("flushes", producer:flush(10))
check("delivers each record", delivered == RECORDS, delivered)
local report = producer:close()
check("says so when it closes", report.sent == RECORDS and report.delivered == RECORDS)
raises("closed producer", producer.send, producer, { topic = "smoke" })

-- ---- records out ------------------------------------------------------------

-- Each worker has a Lua state of its own: what a handler saw comes back as a
-- line of a file, written in one piece.
local journal = os.tmpname()

local function handle(record, context)
  assert(record.topic == "smoke" and record.id:find "^smoke/%d+/%d+$")
  assert(record:header "kind" == "smoke" and record:header "empty" == "")
  assert(#record.headers == 3 and record.headers[3][2] == nil)
  assert(record.timestamp > 1e9)
  if record.value == "100" and record.attempt == 1 then
    return context:retry(0.01, "not yet")
  end
  local file = assert(io.open(context.args, "a"))
  file:write(("%s %s %d %d\n"):format(record.key, record.value, record.attempt, context.worker))
  file:close()
end

local events = {}
local consumer = assert(strand.consumer {
  kafka = {
    ["bootstrap.servers"] = servers, ["group.id"] = "smoke",
    ["session.timeout.ms"] = 6000, ["fetch.wait.max.ms"] = 10,
  },
  topics = { "smoke" }, ordering = "key", workers = WORKERS,
  handler = handle, handler_args = journal,
  on_event = function(event) events[event.type] = (events[event.type] or 0) + 1 end,
})

local deadline = os.time() + 30
local stats, committed, left
report, problem = consumer:run { every = 0.05, tick = function()
  stats = consumer:stats()
  if stats.done < RECORDS and os.time() < deadline then return end
  committed, left = consumer:commit(10), #consumer:blockers()
  consumer:stop()
end }
check("runs to its end", report, problem)
check("commits when asked to", committed and left == 0)
check("counts", report.done == RECORDS and report.failed == 1, report.done)
check("leaves nothing unfinished", #report.unfinished == 0 and not report.detached)

local offsets = 0
for _, place in ipairs(report.committed) do offsets = offsets + place.offset end
check("reports what it committed", offsets == RECORDS, offsets)

local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = servers } })
offsets = 0
for _, place in ipairs(assert(admin:group_offsets("smoke", { "smoke" }))) do
  offsets = offsets + place.offset
end
admin:close()
check("the cluster has it", offsets == RECORDS, offsets)

local last, seen, attempts, in_order = {}, 0, 0, true
for line in io.lines(journal) do
  local key, value, attempt = line:match "^(%S+) (%d+) (%d+) %d+$"
  value = tonumber(value)
  in_order = in_order and value > (last[key] or 0)
  last[key], seen = value, seen + 1
  attempts = attempts + tonumber(attempt)
end
os.remove(journal)
check("handles each record once", seen == RECORDS, seen)
check("keeps the order of each key", in_order)
check("tries again once", attempts == RECORDS + 1, attempts)

check("tells of its partitions", events.assigned == PARTITIONS and events.revoked == PARTITIONS,
  events.assigned)
check("tells of a failed attempt", events.record_failed == 1)
check("closing again gives the same report", consumer:close() == report)
raises("closed consumer", consumer.commit, consumer)

-- ---- handlers in each event loop ----------------------------------------------

local loops = require "spec.support.loops"

-- Of each key the second record sleeps, the third is deferred, the fourth raises once.
local function handler_in(loop, journal_of, waiting)
  return function(record, context)
    journal_of[record.key] = (journal_of[record.key] or "") .. record.value
    if record.value == "2" then
      context:sleep(0.02)
      loop.sleep(0.001)
    elseif record.value == "3" then
      waiting[#waiting + 1] = context:defer()
    elseif record.value == "4" and record.attempt == 1 then
      error "once"
    end
  end
end

for name, loop in loops.each() do
  local topic, journal_of, waiting = "smoke-" .. name, {}, {}
  assert(mock:create_topic(topic, 2))
  local client = assert(strand.producer { kafka = { ["bootstrap.servers"] = servers } })
  local waits = assert(strand.consumer {
    kafka = { ["bootstrap.servers"] = servers, ["group.id"] = topic,
      ["session.timeout.ms"] = 6000, ["fetch.wait.max.ms"] = 10 },
    topics = { topic }, workers = 0, retry = { delay = 0.01 }, log = false,
    handler = handler_in(loop, journal_of, waiting),
  })
  local over
  loop.run(function()
    assert(loop.start(client))
    for _, value in ipairs { "1", "2", "3", "4" } do
      for n = 1, KEYS do
        assert(client:send_wait { topic = topic, key = "key-" .. n, value = value })
      end
    end
    assert(loop.start(waits))
    while waits:stats().done < 4 * KEYS do
      loop.sleep(0.01)
      for _, done in ipairs(waiting) do done() end
    end
    over = assert(waits:close())
    client:close()
  end)
  check(name .. ": each record is done", over.done == 4 * KEYS and over.failed == KEYS, over.done)
  local in_turn = true
  for n = 1, KEYS do in_turn = in_turn and journal_of["key-" .. n] == "12344" end
  check(name .. ": keeps the order of each key", in_turn)
end

mock:close()
print(("%d passed"):format(passed))
