-- demo.lua: an ERP's orders, brought into a SQL database in order
--
--   make order-sync       a Kafka cluster inside this process, and SQLite
--
-- On real ones, where STRAND_BROKER (host:port) and STRAND_DATABASE
-- (postgres:..., see database.lua) say so:
--
--   scripts/kafka run 3.9.1 -- scripts/database run -- make order-sync
--
-- Three topics, one consumer. In the middle SQLite is locked for some seconds
-- (a PostgreSQL is yours to stop): nothing is lost, and nobody is blamed. A
-- few records are no events, and become dead letters; a few orders are
-- poison, and are parked. At the end the tables are compared with what the
-- events say; the exit status says whether they are equal.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. folder .. "../?.lua;" .. package.path

local strand = require "strand"
local database = require "database"
local erp = require "erp"
local ledger = require "ledger"
local progress = require "progress"
local schema = require "schema"

local ORDERS = 4000
local PARTITIONS, WORKERS = 4, 8
local AWAY = 3   -- seconds for which SQLite is locked
local LIMIT = 90 -- seconds, for all of it

local begin = os.time()
local run = ("%d-%s"):format(begin, tostring({}):match "0x0*(%x+)")
local topics = { "online-" .. run, "store-" .. run, "international-" .. run }
local letters = "order-sync-dead-letters-" .. run
local mine = ("channel IN ('%s')"):format(table.concat(topics, "', '"))

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

-- -> where Kafka is, and what takes the topics away again
local function open_cluster(broker)
  local counts = { [letters] = 1 }
  for _, topic in ipairs(topics) do counts[topic] = PARTITIONS end
  if not broker then
    local mock = assert(strand.mock { topics = counts })
    return mock.bootstrap_servers, function() mock:close() end
  end
  local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
  assert(admin:create_topics(counts))
  return broker, function()
    assert(admin:delete_topics { letters, topics[1], topics[2], topics[3] })
    admin:close()
  end
end

-- -> the database's address, and what removes it
local function choose_database(address)
  if address then return address, function() end end
  local file = os.tmpname()
  return "sqlite:" .. file, function()
    for _, ending in ipairs { "", "-wal", "-shm" } do os.remove(file .. ending) end
  end
end

local function create_tables(address)
  local db = assert(database.connect(address))
  for _, statement in ipairs(schema) do db:run(statement) end
  db:close()
end

local COUNT = "SELECT COUNT(*) AS n FROM applied WHERE " .. mine:gsub("channel", "source_topic")

-- -> how many records are applied, or nil while the database is not there
local function count_applied(address)
  local db = database.connect(address)
  if not db then return nil end
  local answered, rows = pcall(db.run, db, COUNT)
  db:close()
  return answered and tonumber(rows[1].n) or nil
end

local function open_consumer(servers, address)
  return assert(strand.consumer {
    kafka = {
      ["bootstrap.servers"] = servers,
      ["group.id"] = "order-sync-" .. run,
      ["session.timeout.ms"] = 6000, -- what a join takes on the embedded cluster
      ["fetch.wait.max.ms"] = 10,
    },
    topics = topics,
    ordering = "key",                -- events of one sync_id one after another
    workers = WORKERS,
    handler = "sync",                -- sync.lua, loaded by each worker
    handler_args = { database = address },
    retry = { attempts = 3, delay = 0.1 },
    exhausted = "park",              -- an order that is refused waits for somebody
    dead_letter = { topic = letters }, -- what is no event
    on_event = function() end,       -- failures are shown below, and not warnings here
    start_timeout = 30,
  })
end

-- -> the books of what was sent
local function send_events(servers)
  local books = ledger.new()
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = servers } })
  erp.each_event(ORDERS, topics, function(topic, key, value, event)
    assert(producer:send { topic = topic, key = key, value = value })
    books:add(topic, key, event)
  end)
  assert(producer:flush())
  assert(producer:close().delivered == books.events)
  return books
end

-- -> what is called now and then with the number of applied records. In the
-- middle it locks SQLite for some seconds: nobody else can write, which to the
-- workers is a database that does not answer. The workers may be faster, for
-- longer than it waits: then it tries again.
local function plan_outage(address, shown)
  local db, over = address:find "^sqlite" and database.connect(address), nil
  return function(applied)
    if db and not over and applied > 0 and pcall(db.run, db, "BEGIN IMMEDIATE") then
      shown:say("  the database goes away for %d s", AWAY)
      over = os.time() + AWAY
    elseif db and over and os.time() > over then
      db:run "COMMIT"
      db:close()
      db = nil
      shown:say "  and is back"
    end
  end
end

local FEW = 3

-- -> how many there are
local function list_parked(consumer)
  local count = 0
  for record in consumer:parked() do
    count = count + 1
    if count <= FEW then
      say("  parked: %s, %s: %s", record.id, record.key, record.reason:match "[^\n]*")
    end
  end
  if count > FEW then say("  and %d more", count - FEW) end
  return count
end

-- Runs until all is applied, sent away or parked, the limit is reached, or
-- Ctrl-C. -> number of parked records, the report
local function consume(consumer, address, books)
  local shown = progress.new(books.applied, "applied")
  local parked, disturb = 0, plan_outage(address, shown)
  local report, problem = consumer:run { every = 0.25, tick = function()
    local applied, stats = count_applied(address), consumer:stats()
    shown:update(applied, ("%d dead letters, %d parked, %d wait"):format(stats.dead_lettered,
      stats.parked, stats.waiting_records))
    disturb(applied or 0)
    local finished = applied == books.applied and stats.dead_lettered == books.malformed
      and stats.parked == books.poison
    if finished or os.time() - begin > LIMIT then
      shown:finish()
      parked = list_parked(consumer)
      consumer:stop()
    end
  end }
  shown:finish()
  return parked, assert(report, problem), shown
end

local function show_timeline(shown)
  local line, highest = shown:timeline()
  say ""
  say("applied a quarter of a second, up to %.0f/s; the dip is the outage:", highest)
  say("  %s", line)
end

local function show(books, rows, differences, parked, report)
  say ""
  say("events           %6d    of %d orders in three channels", books.events, ORDERS)
  say("applied          %6d    each in one transaction", books.applied)
  say("dead letters     %6d    of %d records that are no events", report.dead_lettered,
    books.malformed)
  say("parked           %6d    of %d orders that the database refuses", parked, books.poison)
  say("behind them      %6d    later records of these orders", books.behind)
  say("rows             %6d    of orders and invoices", rows)
  say("wrong or missing %6d", differences)
  say ""
end

local function demo(servers, address)
  create_tables(address)
  local consumer = open_consumer(servers, address)
  say "joining the group (a few seconds)"
  assert(consumer:start())
  local books = send_events(servers)
  local parked, report, shown = consume(consumer, address, books)
  local db = assert(database.connect(address))
  local differences, rows = books:compare(db, mine)
  db:close()
  show_timeline(shown)
  show(books, rows, differences, parked, report)
  return differences == 0 and count_applied(address) == books.applied
    and parked == books.poison and report.dead_lettered == books.malformed
end

local servers, close_cluster = open_cluster(os.getenv "STRAND_BROKER")
local address, remove_database = choose_database(os.getenv "STRAND_DATABASE")
local ok, held = xpcall(demo, debug.traceback, servers, address)
remove_database()
if not ok then say("%s", held) end
close_cluster()
say(ok and held and "It held." or "It did not hold.")
os.exit(ok and held, true)
