-- producer.lua: the producer that users hold
--
-- The C side queues, sends and collects delivery reports; this is the part in
-- the caller's state: checking records, the user's partition_key and
-- partitioner, serving reports, waiting for them.
-- Used of strand.core:
--
-- core.producer(flat)  -> userdata | nil, message, code    "OPTION" as for the consumer
--
-- The userdata. No method waits but 'close'. Its fd is readable, level-triggered, while there is
-- a delivery report, an event, a log line, a request for a token or a report of
-- 'pending' that nobody took.
--
-- state()              -> "running" | "closed" | "forked"
-- fd()                 -> number | nothing: closed, and all reports taken
-- send(topic, key | nil, value | nil, headers | nil, timestamp | nil, partition | nil,
--      hash_key | nil, pending) -> true | nil, message, code ("QUEUE_FULL", ...)
--                         headers { name, value or false, name, ... }; timestamp in seconds;
--                         hash_key: what to hash in place of the key; pending: gives an id, and
--                         the report goes to take_pending(id), not to next_delivery()
-- take_pending(id)     -> false while it is in flight | report | nil, message, code
-- drop_pending(id)     nobody waits for it any more
-- partitions(topic)    -> count | nil, message, "NO_METADATA" (and asks for it)
-- next_delivery()      -> report | nil          only with flat.has_on_delivery; else C counts.
--                         { topic, partition, offset, timestamp, key, error = message, code }
-- next_event(), next_log(), keep(boolean), oauth_needed(), oauth_set(...), oauth_fail(message)
--                         as the consumer's; the last three with flat.has_oauth
-- await_topics()       waits until the partitions of flat.topics are known, 2 s at most; with
--                         flat.has_oauth, where core.producer does not: no broker answers before
--                         there is a token
-- outstanding()        -> records sent and not yet acknowledged or failed
-- flush_begin()        sends without lingering until nothing is outstanding, whoever waits
--                         for it: the report that makes it so makes fd readable
-- hurry(boolean)       true: somebody waits, nothing lingers; false, for each true: no longer
-- close(timeout)       -> report { sent, delivered, failed, purged, seconds }: what is outstanding
--                         is purged; the last reports are there for next_delivery()
-- stats()              -> table

local core = require "strand.core"
local object = require "strand.object"
local check = require "strand.options.producer"
local properties = require "strand.properties"
local dispatcher = require "strand.dispatcher"
local schema = require "strand.schema"
local text = require "strand.text"

local producer = {}

local function wait(self, deadline)
  if self.dispatcher:pending() then return end
  core.wait({ self.core:fd() }, deadline and math.max(0, deadline - core.now()))
end

-- Where a record goes -------------------------------------------------------

local function key_to_hash(self, record, given)
  local hash_key = record.partition_key
  if hash_key ~= nil or not self.partition_key then return hash_key end
  hash_key = self.partition_key(given)
  if hash_key ~= nil and type(hash_key) ~= "string" then
    schema.raise(("partition_key returned %s, string or nil expected")
      :format(schema.describe(hash_key)))
  end
  return hash_key
end

local function picked_partition(self, topic, key)
  local count, message, code = self.core:partitions(topic)
  if not count then return nil, message, code end
  local partition = self.partitioner(key, count, topic)
  if type(partition) ~= "number" or partition % 1 ~= 0 or partition < 0
     or partition >= count then
    schema.raise(("partitioner returned %s, whole number from 0 to %d expected")
      :format(schema.describe(partition), count - 1))
  end
  return partition
end

-- 'given' is the user's table: partition_key sees what else stands in it.
-- -> true, partition | nil, hash_key | nil; or nil, message, code
local function placed(self, record, given)
  if record.partition ~= nil then return true, record.partition end
  local hash_key = key_to_hash(self, record, given)
  if not self.partitioner then return true, nil, hash_key end
  local partition, message, code = picked_partition(self, record.topic, hash_key or record.key)
  if partition == nil then return nil, message, code end
  return true, partition, hash_key
end

local function send(self, record, partition, hash_key, pending)
  return self.core:send(record.topic, record.key, record.value, record.headers,
    record.timestamp, partition, hash_key, pending)
end

-- Methods -------------------------------------------------------------------

local methods, lasting = {}, {}

function methods:send(given)
  local record = check.send(given, self.partition_key)
  local ok, partition, hash_key = placed(self, record, given)
  if not ok then return nil, partition, hash_key end
  return send(self, record, partition, hash_key, false)
end

-- As soon as the queue has room for it. -> id | nil, message, code
local function send_pending(self, deadline, record, partition, hash_key)
  local id, message, code = send(self, record, partition, hash_key, true)
  while code == "QUEUE_FULL" do
    if core.now() >= deadline then
      return nil, ("%s, and was for %.14g s"):format(message, record.timeout), code
    end
    wait(self, deadline)
    self.dispatcher:serve()
    id, message, code = send(self, record, partition, hash_key, true)
  end
  return id, message, code
end

-- 'waited' is for whoever catches what is raised in here.
local function send_and_wait(self, waited, record, partition, hash_key)
  local deadline = core.now() + record.timeout
  self.core:hurry(true)
  waited.hurries = true
  local id, message, code = send_pending(self, deadline, record, partition, hash_key)
  if not id then return nil, message, code end
  waited.id = id
  while true do
    local report
    report, message, code = self.core:take_pending(id)
    if report ~= false then return text.delivery(report), message, code end
    if core.now() >= deadline then
      return nil, ("not acknowledged within %.14g s; it may still be"):format(record.timeout),
        "TIMED_OUT"
    end
    wait(self, deadline)
    self.dispatcher:serve()
  end
end

function methods:send_wait(given)
  local record = check.send_wait(given, self.partition_key)
  local placed_well, partition, hash_key = placed(self, record, given)
  if not placed_well then return nil, partition, hash_key end
  local waited = { id = false, hurries = false }
  local ok, report, message, code = pcall(send_and_wait, self, waited, record, partition, hash_key)
  if waited.id then self.core:drop_pending(waited.id) end -- nobody will ask for it
  if waited.hurries then self.core:hurry(false) end
  if not ok then error(report, 0) end
  return report, message, code
end

local function flush(self, timeout)
  local deadline = core.now() + timeout
  self.core:flush_begin()
  self.dispatcher:serve()
  local remaining = self.core:outstanding()
  while remaining > 0 do
    if core.now() >= deadline then
      return nil, ("%d records not acknowledged within %.14g s"):format(remaining, timeout),
        "TIMED_OUT", remaining
    end
    wait(self, deadline)
    self.dispatcher:serve()
    remaining = self.core:outstanding()
  end
  return true
end

function methods:flush(timeout)
  return flush(self, check.flush(timeout))
end

-- -> number of callbacks called
function methods:poll(timeout)
  timeout = check.poll(timeout)
  wait(self, core.now() + (timeout or 0))
  return self.dispatcher:serve()
end

function methods:fd()
  return self.core:fd()
end

function lasting:stats()
  return self.core:stats()
end

local PURGE_TIMEOUT = 1

function lasting:close(given)
  local timeout = check.close(given).timeout
  if not self.report then
    flush(self, timeout)
    self.report = text.report(self.core:close(PURGE_TIMEOUT))
  end
  self.dispatcher:finish() -- again: where it raised, something is left
  return self.report
end

local class = object.class("producer", "strand.Producer", methods, lasting)

function producer.open(given)
  object.refuse_before_fork "producer"
  local flat, own = check.open(given)
  local userdata, message, code = core.producer(flat)
  if message then message = properties.hide_secrets(message, flat.kafka) end
  local self, problem
  self, problem, code = object.open(class, {
    partition_key = own.partition_key, partitioner = own.partitioner,
  }, userdata, message, code)
  if not self then return nil, problem, code end
  self.dispatcher = dispatcher.new(userdata, own)
  if own.oauth_token then
    self.dispatcher:serve() -- the first is due now: without it nothing is sent
    if own.partitioner then self.core:await_topics() end
  end
  return self
end

return producer
