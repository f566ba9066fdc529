-- sync.lua: brings the ERP's events into the database
--
-- Each worker thread loads this file into a Lua state of its own, and has a
-- connection of its own. What can go wrong, and the answer to it:
--
--   the record is no event      a dead letter: it will never be one
--   no database, or it is lost  again in a second, as often as it takes; the
--                               record is not to blame, and no attempt counts
--   the database refuses it     failed: tried again by the policy, then parked;
--                               later events of that order wait behind it
--   it is out of sequence       parked at once: that would be a loss or an inversion,
--                               and no further attempt would mend it
--
-- A transaction for each record; a record that was applied before (its commit
-- was lost on the way, a process died) changes nothing.

local strand = require "strand"
local database = require "database"
local event = require "event"

local AGAIN = 1 -- seconds

local connection         -- this worker's own, while there is one
local absent, knock_next -- why there is none, and the os.time to try again

local APPLIED = [[INSERT INTO applied VALUES ($topic, $partition, $offset)
  ON CONFLICT DO NOTHING]]

-- The ERP sends an order whole when it is new, and when it likes.
local CREATE = [[INSERT INTO orders VALUES
    ($channel, $sync_id, $revision, $customer, $cents, 'open')
  ON CONFLICT (channel, sync_id) DO UPDATE SET revision = excluded.revision,
    customer = excluded.customer, cents = excluded.cents, status = excluded.status
  WHERE orders.revision = excluded.revision - 1]]

local UPDATE = [[UPDATE orders SET revision = $revision, cents = $cents, status = $status
  WHERE channel = $channel AND sync_id = $sync_id AND revision = $revision - 1]]

local INVOICED = [[UPDATE orders SET revision = $revision, status = 'invoiced'
  WHERE channel = $channel AND sync_id = $sync_id AND revision = $revision - 1]]

local INVOICE = [[INSERT INTO invoices VALUES ($channel, $number, $sync_id, $cents)
  ON CONFLICT (channel, number) DO UPDATE SET sync_id = excluded.sync_id, cents = excluded.cents]]

-- The order must be where this event left it to be: with the order of keys
-- kept, it always is.
local function follow(db, statement, values)
  if db:run(statement, values) == 1 then return end
  error(strand.park(("%s %d of %s is out of sequence"):format(values.event, values.revision,
    values.sync_id)))
end

local apply = {}

function apply.order_creation(db, values)
  follow(db, CREATE, values)
end

function apply.order_updation(db, values)
  follow(db, UPDATE, values)
end

function apply.invoice_creation(db, values)
  follow(db, INVOICED, values)
  db:run(INVOICE, values)
end

local function apply_once(db, record, values)
  if db:run(APPLIED, record) == 0 then return end
  values.channel = record.topic
  apply[values.event](db, values)
end

-- -> this worker's connection, or nil and why there is none
local function connect(address)
  if connection then return connection end
  if absent and os.time() < knock_next then return nil, absent end
  connection, absent = database.connect(address)
  knock_next = os.time() + AGAIN
  return connection, absent
end

local function disconnect()
  if connection then connection:close() end
  connection = nil
end

local sync = {}

function sync.handle(record, context)
  local values, problem = event.read(record)
  if not values then return strand.dead_letter(problem) end
  local db, done, lost
  db, problem = connect(context.args.database)
  if not db then return strand.retry(AGAIN, problem) end
  done, problem, lost = db:transaction(apply_once, record, values)
  if done then return end
  if not lost then error(problem, 0) end
  disconnect()
  return strand.retry(AGAIN, problem)
end

sync.teardown = disconnect

return sync
