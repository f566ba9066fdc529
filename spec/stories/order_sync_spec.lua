-- The order sync story (examples/order_sync), on SQLite, and on a real
-- PostgreSQL that is stopped and killed beside a real broker:
--   scripts/kafka run 3.9.1 -- scripts/database run -- scripts/busted lua5.4 spec/stories
package.path = "examples/order_sync/?.lua;" .. package.path

local database = require "database"
local erp = require "erp"
local helper = require "spec.support.helper"
local json = require "cjson"
local member = require "spec.support.member"
local schema = require "schema"
local strand = require "strand"

local address = assert(os.getenv "STRAND_DATABASE", "run by: scripts/database run")

-- stop, kill, start: see scripts/database.
local function server(action)
  local ok = os.execute(("scripts/database %s %s > /dev/null"):format(action,
    os.getenv "STRAND_DATABASE_NAME"))
  assert(ok == true or ok == 0, "scripts/database " .. action .. " failed")
end

local function create_tables(where)
  local db = assert(database.connect(where))
  for _, statement in ipairs(schema) do db:run(statement) end
  db:close()
end

local ORDERS = { "channel", "sync_id", "revision", "customer", "cents", "status" }
local INVOICES = { "channel", "number", "sync_id", "cents" }

-- One driver gives numbers, the other their digits.
local function line(row, columns)
  local words = {}
  for i, name in ipairs(columns) do
    words[i] = type(row[name]) == "number" and ("%.0f"):format(row[name]) or row[name]
  end
  return table.concat(words, " | ")
end

-- What the tables have of a channel, a line for each row, sorted.
local function contents(db, channel)
  local lines = {}
  for name, columns in pairs { orders = ORDERS, invoices = INVOICES } do
    local rows = db:run("SELECT * FROM " .. name .. " WHERE channel = $channel",
      { channel = channel })
    for _, row in ipairs(rows) do lines[#lines + 1] = name .. ": " .. line(row, columns) end
  end
  table.sort(lines)
  return lines
end

-- ---- the handler alone ----------------------------------------------------------

local function describe_handler(name, where, take_away, give_back)
  describe("order sync's handler on " .. name, function()
    local context = strand.testing.context { args = { database = where } }
    local sync, db, channel, offset

    before_each(function()
      create_tables(where)
      package.loaded.sync = nil
      sync, db = require "sync", assert(database.connect(where))
      channel, offset = helper.name "channel", -1
    end)

    after_each(function()
      sync.teardown()
      db:close()
    end)

    -- -> "done", or what else would become of the record, and why
    local function handle(record)
      local result = strand.testing.run("sync", strand.testing.record(record), context)
      return result.reason and result.kind .. ": " .. result.reason or result.kind
    end

    local function record(value)
      offset = offset + 1
      return { topic = channel, partition = 3, offset = offset, key = "S-1",
        value = type(value) == "table" and json.encode(value) or value }
    end

    local function creation(fields)
      local event = { event = "order_creation", sync_id = "S-1", revision = 1,
        customer = "O'Hara \\ Söhne", cents = 100 }
      for key, value in pairs(fields or {}) do event[key] = value end
      return event
    end

    local function update(revision, cents)
      return { event = "order_updation", sync_id = "S-1", revision = revision, cents = cents,
        status = "packed" }
    end

    local function invoice(revision, cents)
      return { event = "invoice_creation", sync_id = "S-1", revision = revision, cents = cents,
        number = "I-1" }
    end

    local function rows() return contents(db, channel) end

    it("applies an order's events one upon another", function()
      assert.equal("done", handle(record(creation())))
      assert.same({ "orders: " .. channel .. " | S-1 | 1 | O'Hara \\ Söhne | 100 | open" }, rows())
      assert.equal("done", handle(record(update(2, 250))))
      assert.equal("done", handle(record(invoice(3, 240))))
      assert.equal("done", handle(record(invoice(4, 245))))
      assert.same({ "invoices: " .. channel .. " | I-1 | S-1 | 245",
        "orders: " .. channel .. " | S-1 | 4 | O'Hara \\ Söhne | 250 | invoiced" }, rows())
      assert.equal("done", handle(record(creation { revision = 5, customer = "Ada" })))
      assert.equal("orders: " .. channel .. " | S-1 | 5 | Ada | 100 | open", rows()[2])
    end)

    it("changes nothing when a record comes again", function()
      local sent = { record(creation()), record(update(2, 250)), record(invoice(3, 240)) }
      for _, each in ipairs(sent) do assert.equal("done", handle(each)) end
      local before = rows()
      for _, each in ipairs(sent) do assert.equal("done", handle(each)) end
      assert.same(before, rows())
    end)

    it("parks what comes out of sequence, and applies nothing of it", function()
      assert.matches("park", handle(record(update(2, 250))))
      assert.matches("park", handle(record(invoice(2, 250))))
      assert.same({}, rows())
      assert.equal("done", handle(record(creation())))
      local before = rows()
      assert.matches("park", handle(record(update(3, 250))))
      assert.matches("park", handle(record(creation { revision = 3 })))
      assert.matches("park", handle(record(invoice(3, 250))))
      assert.same(before, rows())
      assert.equal("done", handle(record(update(2, 250))))
    end)

    it("fails where the database refuses, and applies nothing of it", function()
      handle(record(creation()))
      local before = rows()
      local refused = record(update(2, -1))
      assert.matches("[Cc][Hh][Ee][Cc][Kk] constraint", handle(refused))
      assert.matches("[Cc][Hh][Ee][Cc][Kk] constraint", handle(refused))
      assert.matches("[Cc][Hh][Ee][Cc][Kk] constraint", handle(record(invoice(2, -1))))
      assert.same(before, rows())
      assert.equal("done", handle(record(update(2, 1))))
    end)

    it("makes a dead letter of what is no event", function()
      local cases = { false, "", "null", "7", "[]", "{", '{"event":"order_deletion"}',
        creation { sync_id = "S-2" }, creation { sync_id = json.null },
        creation { customer = "a\0b" }, creation { customer = 7 }, creation { customer = "" },
        creation { customer = ("x"):rep(201) }, creation { cents = 1.5 },
        creation { cents = "100" }, creation { cents = 1e300 }, creation { revision = {} },
        '{"event":"order_updation","sync_id":"S-1","revision":2,"status":"x","cents":Infinity}' }
      for _, case in ipairs(cases) do
        assert.matches("dead_letter", handle(record(case or nil)))
      end
      assert.same({}, rows())
    end)

    it("tries again without end while the database is not there", function()
      handle(record(creation()))
      local waiting = record(update(2, 250))
      take_away(db)
      local once, twice = handle(waiting), handle(waiting)
      give_back(db)
      assert.matches("retry", once)
      assert.matches("retry", twice)
      helper.eventually(10, function() return handle(waiting) == "done" end)
      db:close()
      db = assert(database.connect(where))
      assert.equal("orders: " .. channel .. " | S-1 | 2 | O'Hara \\ Söhne | 250 | packed",
        rows()[1])
    end)
  end)
end

describe_handler("SQLite", "sqlite:" .. helper.folder() .. "/orders.db",
  function(db) db:run "BEGIN IMMEDIATE" end,
  function(db) db:run "COMMIT" end)
describe_handler("PostgreSQL, stopped", address,
  function() server "stop" end, function() server "start" end)
describe_handler("PostgreSQL, killed", address,
  function() server "kill" end, function() server "start" end)
describe_handler("PostgreSQL that ends its sessions", address,
  function(db)
    db:run "ALTER ROLE strand NOLOGIN"
    db:run [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid <> pg_backend_pid() AND backend_type = 'client backend']]
  end,
  function(db) db:run "ALTER ROLE strand LOGIN" end)

-- ---- the story ---------------------------------------------------------------------

local PARTITIONS, COUNT = 4, 3000

-- The events of COUNT orders on three new topics: a list of records, each with
-- topic, partition, offset, key, value, id; 'bad' where it is no event.
local function make_records(topics)
  local list, ends = {}, {}
  erp.each_event(COUNT, topics, function(topic, key, value, event)
    local partition = tonumber(key:match "%d+$") % PARTITIONS
    local place = topic .. "/" .. partition
    ends[place] = ends[place] or 0
    list[#list + 1] = { topic = topic, partition = partition, offset = ends[place], key = key,
      value = value, bad = not event, id = place .. "/" .. ends[place] }
    ends[place] = ends[place] + 1
  end)
  return list
end

-- The first to the last of the list, by number.
local function send(list, first, last)
  local producer = assert(strand.producer { kafka = {
    ["bootstrap.servers"] = helper.broker() } })
  for i = first, last do
    local record = list[i]
    assert(producer:send { topic = record.topic, partition = record.partition, key = record.key,
      value = record.value, headers = { source = record.id } })
  end
  assert(producer:flush(30))
  assert.equal(last - first + 1, producer:close().delivered)
end

-- What the events say. -> { [topic] = sorted lines }, number of records to be
-- applied, and { [id] = record } of those that are refused, of those behind
-- them, and of those that become dead letters. 'bless' takes the refused for
-- good.
local function fold(list, topics, bless)
  local orders, rows, applied, refused, behind, bad = {}, {}, 0, {}, {}, {}
  for _, record in ipairs(list) do
    local key = record.topic .. record.key
    local order = orders[key] or { topic = record.topic }
    orders[key] = order
    local event = not record.bad and json.decode(record.value)
    if order.stuck then
      behind[record.id] = record
    elseif record.bad then
      bad[record.id] = record
    elseif event.cents < 0 and not bless then
      order.stuck, refused[record.id] = true, record
    else
      applied = applied + 1
      order.name, order.revision = event.sync_id, event.revision
      order.customer = event.customer or order.customer
      order.status = event.status or event.event == "order_creation" and "open" or "invoiced"
      if event.number then order.number, order.invoiced = event.number, event.cents
      else order.cents = event.cents end
    end
  end
  for _, topic in ipairs(topics) do rows[topic] = {} end
  for _, order in pairs(orders) do
    local lines = rows[order.topic]
    lines[#lines + 1] = ("orders: %s | %s | %.0f | %s | %.0f | %s"):format(order.topic, order.name,
      order.revision, order.customer, order.cents, order.status)
    if order.number then
      lines[#lines + 1] = ("invoices: %s | %s | %s | %.0f"):format(order.topic, order.number,
        order.name, order.invoiced)
    end
  end
  for _, lines in pairs(rows) do table.sort(lines) end
  return rows, applied, refused, behind, bad
end

local function actual_rows(topics)
  local db, rows = assert(database.connect(address)), {}
  for _, topic in ipairs(topics) do rows[topic] = contents(db, topic) end
  db:close()
  return rows
end

-- How many records are applied; nil while the database is not there.
local function count_applied(topics)
  local db = database.connect(address)
  if not db then return nil end
  local ok, rows = pcall(db.run, db, "SELECT COUNT(*) AS n FROM applied WHERE source_topic IN "
    .. "($one, $two, $three)", { one = topics[1], two = topics[2], three = topics[3] })
  db:close()
  return ok and tonumber(rows[1].n) or nil
end

local function parked_by_id(consumer)
  local found = {}
  for record in consumer:parked() do
    found[record.id] = record
  end
  return found
end

local function keys_of(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- The dead letters, by the 'source' header that they were sent with.
local function read_dead_letters(topic, count)
  local path = helper.folder() .. "/letters"
  helper.write(path, "")
  local consumer = member.start { group = helper.name "letters", topics = { topic }, workers = 1,
    handler_args = { path = path },
    handler = function(record, context)
      local file = assert(io.open(context.args.path, "ab"))
      local headers = {}
      for _, header in ipairs(record.headers) do headers[header[1]] = header[2] end
      file:write(require "cjson".encode { key = record.key, value = record.value,
        headers = headers, time = record.timestamp }, "\n")
      file:close()
    end }
  helper.eventually(30, function()
    return select(2, helper.read(path):gsub("\n", "\n")) >= count
  end, consumer)
  consumer:close()
  local letters = {}
  for text in helper.read(path):gmatch "[^\n]+" do
    local letter = json.decode(text)
    assert.is_nil(letters[letter.headers.source], "a dead letter came twice")
    letters[letter.headers.source] = letter
  end
  return letters
end

describe("the order sync story", function()
  local topics, letters, group, list, rows, applied, refused, behind, bad

  setup(function()
    create_tables(address)
    topics = { helper.topic(PARTITIONS), helper.topic(PARTITIONS), helper.topic(PARTITIONS) }
    letters, group, list = helper.topic(1), helper.name "group", make_records(topics)
    rows, applied, refused, behind, bad = fold(list, topics)
  end)

  teardown(member.end_all)

  local function start()
    return member.start { group = group, topics = topics, workers = 16, handler = "sync",
      handler_args = { database = address }, retry = { attempts = 3, delay = 0.1 },
      exhausted = "park", dead_letter = { topic = letters } }
  end

  local function wait_applied(count, ...)
    local last
    local ok = pcall(helper.eventually, 60, function()
      last = count_applied(topics) or last
      return last and last >= count
    end, ...)
    assert(ok, ("%s of %d records applied"):format(tostring(last), count))
  end

  local function wait_settled(consumer)
    wait_applied(applied, consumer)
    helper.eventually(20, function()
      local stats = consumer:stats()
      return stats.parked == #keys_of(refused) and stats.dead_lettered == #keys_of(bad)
    end, consumer)
  end

  it("survives a database that is stopped for 20 s and one that is killed, and nobody is "
    .. "blamed", function()
    local consumer = start()
    member.wait_assigned(20, consumer, 3 * PARTITIONS)
    local half = math.floor(#list / 2)
    send(list, 1, half)
    wait_applied(1, consumer)
    server "stop"
    send(list, half + 1, #list) -- however quick the first were
    local over = require "system".monotime() + 20
    helper.eventually(25, function() return require "system".monotime() > over end, consumer)
    local stats = consumer:stats()
    assert.is_true(stats.waiting_records > 0, "nothing waits")
    server "start"
    wait_applied(math.floor(stats.done + (applied - stats.done) / 3), consumer)
    server "kill"
    server "start"
    wait_settled(consumer)
    assert.same(rows, actual_rows(topics))
    assert.same(keys_of(refused), keys_of(parked_by_id(consumer)))
    for _, record in pairs(parked_by_id(consumer)) do
      assert.matches("check constraint", record.reason)
    end
    assert(consumer:commit())
    local report = assert(consumer:close())
    assert.equal(#keys_of(bad), report.dead_lettered)
  end)

  it("commits what is done, and neither the refused nor those behind them", function()
    local wrong = {}
    for _, topic in ipairs(topics) do
      local entries = member.committed(group, topic)
      for _, record in ipairs(list) do
        local open = refused[record.id] or behind[record.id]
        if record.topic == topic
          and member.covers(entries[record.partition], record.offset) == (open ~= nil) then
          wrong[#wrong + 1] = record.id
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("has the malformed records, and no others, in the dead letter topic, whole", function()
    local found = read_dead_letters(letters, #keys_of(bad))
    assert.same(keys_of(bad), keys_of(found))
    for id, letter in pairs(found) do
      local headers, record = letter.headers, bad[id]
      assert.equal(record.key, letter.key)
      assert.equal(record.value, letter.value ~= json.null and letter.value or nil)
      assert.equal(id, ("%s/%s/%s"):format(headers["strand.topic"], headers["strand.partition"],
        headers["strand.offset"]))
      assert.equal(group, headers["strand.group"])
      assert.equal("1", headers["strand.attempts"])
      assert.is_true(#headers["strand.reason"] > 0)
    end
  end)

  it("finds what was parked again after a restart, and goes on once it is mended", function()
    local consumer = start()
    helper.eventually(30, function()
      return consumer:stats().parked == #keys_of(refused)
    end, consumer)
    assert.same(keys_of(refused), keys_of(parked_by_id(consumer)))
    assert.same(rows, actual_rows(topics))
    local db = assert(database.connect(address))
    db:run "ALTER TABLE orders DROP CONSTRAINT orders_cents_check"
    finally(function()
      db:run [[ALTER TABLE orders ADD CONSTRAINT orders_cents_check CHECK (cents >= 0) NOT VALID]]
      db:close()
    end)
    for _, record in pairs(parked_by_id(consumer)) do
      assert(consumer:resolve(record, "retry"))
    end
    local blessed, all = fold(list, topics, true)
    wait_applied(all, consumer)
    assert.same(blessed, actual_rows(topics))
    assert.equal(0, assert(consumer:close()).parked)
  end)
end)
