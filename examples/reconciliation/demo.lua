-- demo.lua: the events of thousands of orders, reconciled side by side
--
--   make demo                      on a Kafka cluster inside this process
--   make demo BROKER=host:port     on a real one, on a topic of its own
--
-- Events of one order must be applied in the sequence in which they happened.
-- They are sent to 11 partitions by order_id, and handled by 8 workers at
-- once: many orders side by side, each order in sequence, though 5 % of the
-- handlers fail at their first try. What the workers did is audited at the
-- end; the exit status says whether it held.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. folder .. "../?.lua;" .. package.path

local strand = require "strand"
local audit = require "audit"
local orders = require "orders"
local progress = require "progress"

local PARTITIONS, MEMBERS, WORKERS = 11, 2, 8
local ORDERS = 4000
local LIMIT = 45 -- seconds, for all of it

local begin = os.time()
local topic = ("strand-demo-%d-%s"):format(begin, tostring({}):match "0x0*(%x+)")
local journal -- what the names of the workers' files begin with

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

-- -> where Kafka is, and what takes the topic away again
local function open_cluster(broker)
  if not broker then
    local mock = assert(strand.mock { brokers = 3, topics = { [topic] = PARTITIONS } })
    return mock.bootstrap_servers, function() mock:close() end
  end
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
  assert(admin:create_topics { [topic] = PARTITIONS })
  return broker, function()
    assert(admin:delete_topics { topic })
    admin:close()
  end
end

-- Sends everything. -> events of each order, their sum, and the partitions'
-- ends as the brokers have acknowledged them: { [partition] = offset }
local function send_events(servers)
  local ends = {}
  local producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = servers },
    partition_key = function(event) return event.order_id end,
    on_delivery = function(report)
      assert(not report.error, report.error)
      ends[report.partition] = math.max(ends[report.partition] or 0, report.offset + 1)
    end,
  })
  local sent, count = orders.each_event(ORDERS, function(order_id, number, type)
    assert(producer:send {
      order_id = order_id, -- for partition_key: not part of the record
      topic = topic,
      key = order_id,
      value = ('{"order":"%s","event":"%s"}'):format(order_id, type),
      headers = { type = type, number = tostring(number) },
    })
  end)
  assert(producer:flush())
  assert(producer:close().delivered == count)
  return sent, count, ends
end

local function open_consumer(servers)
  return assert(strand.consumer {
    kafka = {
      ["bootstrap.servers"] = servers,
      ["group.id"] = topic,
      ["session.timeout.ms"] = 6000, -- what a join takes on the embedded cluster
      ["fetch.wait.max.ms"] = 10,
    },
    topics = { topic },
    ordering = "key",                -- events of one order_id one after another
    members = MEMBERS,
    workers = WORKERS,
    handler = "reconcile",           -- reconcile.lua, loaded by each worker
    handler_args = { journal = journal },
    retry = { delay = 0.05 },
    on_event = function() end,       -- failures are counted below, and not warnings here
    start_timeout = 30,              -- start() waits until both members have joined
  })
end

-- As the members know it, from the brokers' answers.
local function count_committed(consumer)
  local sum = 0
  for _, place in ipairs(consumer:assignment()) do sum = sum + (place.committed or 0) end
  return sum
end

-- Runs until everything is committed, the limit is reached, or Ctrl-C.
local function consume(consumer, count)
  local shown = progress.new(count, "events")
  local report, problem = consumer:run { every = shown.moves and 0.1 or 0.5, tick = function()
    local stats = consumer:stats()
    shown:update(stats.done, ("%d tried again"):format(stats.failed))
    if count_committed(consumer) == count or os.time() - begin > LIMIT then consumer:stop() end
  end }
  shown:finish()
  return report, problem
end

-- The group's offsets, read from outside. -> number of events committed,
-- number of partitions that are not committed to their end
local function read_committed(servers, ends)
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = servers } })
  local committed, sum, short = {}, 0, 0
  for _, place in ipairs(assert(admin:group_offsets(topic, { topic }))) do
    committed[place.partition] = place.offset
    sum = sum + place.offset
  end
  admin:close()
  for partition, offset in pairs(ends) do
    if committed[partition] ~= offset then short = short + 1 end
  end
  return sum, short
end

local function show(result)
  say ""
  say("orders           %8d", ORDERS)
  say("events           %8d", result.events)
  say("retries          %8d    handlers that failed; each was tried again", result.retries)
  say("out of sequence  %8d", result.out_of_sequence)
  say("lost             %8d", result.lost)
  say("repeated         %8d", result.repeated)
  say("committed        %8d    in %d partitions, as read from outside", result.committed,
    PARTITIONS)
  say("seconds          %8.1f    from the first event to the last, by %d workers",
    result.seconds, WORKERS)
  say("one thread       %8.1f    computed: the sum of the handlers' times, %.1f times as long",
    result.handler_seconds, result.handler_seconds / result.seconds)
  say ""
end

local function demo(servers)
  local consumer = open_consumer(servers)
  say("%d members join their group (a few seconds)", MEMBERS)
  assert(consumer:start())
  local sent, count, ends = send_events(servers)
  say("%d events of %d orders sent to %d partitions", count, ORDERS, PARTITIONS)
  local report, problem = consume(consumer, count)
  local result = audit.read(journal, WORKERS, sent)
  local short
  result.events = count
  result.committed, short = read_committed(servers, ends)
  show(result)
  if result.committed < count then say("Stopped early: what was not reached counts as lost.") end
  assert(report, problem)
  return result.lost == 0 and result.out_of_sequence == 0 and short == 0
end

local servers, close_cluster = open_cluster(arg[1])
journal = os.tmpname()
local ok, held = xpcall(demo, debug.traceback, servers)
audit.remove(journal, WORKERS)
if not ok then say("%s", held) end
close_cluster()
say(ok and held and "It held." or "It did not hold.")
os.exit(ok and held, true)
