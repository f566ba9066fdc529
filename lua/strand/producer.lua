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
-- a delivery report, an event, a log line or a request for a token that nobody
-- took.
--
-- state()              -> "running" | "closed" | "forked"
-- fd()                 -> number | nothing: closed, and all reports taken
-- send(topic, key | nil, value | nil, headers | nil, timestamp | nil, partition | nil,
--      hash_key | nil, id | false, timeout | nil) -> true | nil, message, code ("QUEUE_FULL", ...)
--                         headers { name, value or false, name, ... }; timestamp in seconds;
--                         hash_key: what to hash in place of the key; id: comes back with the
--                         report; timeout: it has failed if it is not acknowledged by then;
--                         flags in the fourth place: its transaction has failed
-- core.plain_send(producer, userdata, method), core.plain_send_batch(...) -> the method 'send' or
--                         'send_batch' of that producer of Lua's, in C. What is not plain
--                         (src/lua/plain_record.h) is for 'method'
-- send_async_plain(record, id) -> false: not plain, or there is no transaction to send it in;
--                         then nothing is done. Else as send
-- partitions(topic)    -> count | nil, message, "NO_METADATA" (and asks for it)
-- next_delivery(by_id, metatable) -> report | nil   only with flat.has_on_delivery; else C
--                         counts. { topic, partition, offset, timestamp, key, latency,
--                         error = message, code, certain }. Those with an id become by_id[id].report,
--                         and nil is by_id[id]; where it was, C says in the log what failed
-- deliver(by_id, metatable, on_delivery, handler, most) -> called, problem | nil, handed
--                         calls on_delivery for each, or hands it to who waits, until that were
--                         so many, or one raised. Where by_id[0] is a list, deliveries that have
--                         'waiters' are put into it
-- configure(max_queued_records | nil, max_queued_bytes | nil) -> true
-- next_event(), next_log(), oauth_needed(), oauth_answering(...), oauth_set(...), oauth_fail(message)
--                         as the consumer's; the last four with flat.has_oauth
-- keep(boolean, reports, full)   the same, and so many reports that were taken are not given on: they
--                         count as if they waited to be taken
-- await_topics()       waits until the partitions of flat.topics are known, 2 s at most; with
--                         flat.has_oauth, where core.producer does not: no broker answers before
--                         there is a token
-- outstanding()        -> records sent and not yet acknowledged or failed, reports that wait to
--                         be taken
-- flush_begin()        sends without lingering until nothing is outstanding, whoever waits
--                         for it: the report that makes it so makes fd readable
-- hurry(boolean)       true: somebody waits, nothing lingers; false, for each true: no longer
-- transact(...), transaction_state(), transaction_misuse(goal): see transactions.lua
-- close(timeout)       -> report { sent, delivered, failed, purged, seconds }: what is outstanding
--                         is purged; the last reports are there for next_delivery()
-- enter_loop()         transact() does not wait any more where it renews its client
-- purge()              -> whether nothing is outstanding; else to be called again
-- end_begin()          after that: its client ends, and fd is readable when it has. Then close
-- end_done()           -> whether it has
-- stats()              -> table

local core = require "strand.core"
local nginx = require "strand.nginx"
local object = require "strand.object"
local check = require "strand.options.producer"
local delivery = require "strand.delivery"
local properties = require "strand.properties"
local dispatcher = require "strand.dispatcher"
local schema = require "strand.schema"
local text = require "strand.text"
local transactions = require "strand.transactions"

local producer = {}

local wait = delivery.wait_until

local END_TIMEOUT = 0.25 -- seconds for librdkafka's client to end; then in the background
local PURGE_AGAIN = 0.1 -- what a thread of librdkafka was just retrying slips past
local EXIT_TIMEOUT = 2 -- seconds, when an event loop has ended before it
local EXIT_PURGE = 0.2 -- of those of nginx's worker for the purge, and as many for the client's end

-- Where a record goes -------------------------------------------------------

local function key_to_hash(self, record, given, whose)
  local hash_key = record.partition_key
  if hash_key ~= nil or not self.partition_key then return hash_key end
  hash_key = self.partition_key(given)
  if hash_key ~= nil and type(hash_key) ~= "string" then
    schema.raise(("%spartition_key returned %s, string or nil expected")
      :format(whose, schema.describe(hash_key)))
  end
  return hash_key
end

local function picked_partition(self, topic, key, whose)
  local count, message, code = self.core:partitions(topic)
  if not count then return nil, message, code end
  local partition = self.partitioner(key, count, topic)
  if type(partition) ~= "number" or partition % 1 ~= 0 or partition < 0
     or partition >= count then
    schema.raise(("%spartitioner returned %s, whole number from 0 to %d expected")
      :format(whose, schema.describe(partition), count - 1))
  end
  return partition
end

-- 'given' is the user's table: partition_key sees what else stands in it. 'place': in a list.
-- -> true, partition | nil, hash_key | nil; or nil, message, code
local function placed(self, record, given, place)
  if record.partition ~= nil then return true, record.partition end
  local whose = place and schema.item("argument 'records'", place) .. ": " or ""
  local hash_key = key_to_hash(self, record, given, whose)
  if not self.partitioner then return true, nil, hash_key end
  local partition, message, code = picked_partition(self, record.topic, hash_key or record.key, whose)
  if partition == nil then return nil, message, code end
  return true, partition, hash_key
end

local function queue(self, record, partition, hash_key, id)
  return self.core:send(record.topic, record.key, record.value, record.headers,
    record.timestamp, partition, hash_key, id, record.timeout)
end

-- For the method of this name. -> true | nil, message, code, flags
local function send(self, method, record, partition, hash_key)
  return transactions.sent(method, queue(self, record, partition, hash_key, false))
end

-- The same. -> delivery | nil, message, code, flags
local function send_expected(self, method, record, partition, hash_key)
  return transactions.sent(method, delivery.open(self, record.topic, function(id)
    return queue(self, record, partition, hash_key, id)
  end))
end

-- Methods -------------------------------------------------------------------

local methods, lasting = {}, {}

function methods:send(given)
  local record = check.send(given, self.partition_key)
  local ok, partition, hash_key = placed(self, record, given)
  if not ok then return nil, partition, hash_key end
  return send(self, "send", record, partition, hash_key)
end

-- As 'send' below: C reads it first.
-- -> delivery | nil, message, code, flags | false: not plain, or to be raised
local function send_async_plain(self, given)
  if not self.plain or type(given) ~= "table" then return false end
  return delivery.open(self, rawget(given, "topic"), function(id)
    return self.core:send_async_plain(given, id)
  end)
end

function methods:send_async(given)
  local sent, message, code, flags = send_async_plain(self, given)
  if sent ~= false then return sent, message, code, flags end
  local record = check.send_async(given, self.partition_key)
  local ok, partition, hash_key = placed(self, record, given)
  if not ok then return nil, partition, hash_key end
  return send_expected(self, "send_async", record, partition, hash_key)
end

-- All functions of the user's are called before the first record is sent.
-- -> where each goes, as 'placed' has it; up to the first that has no place
local function all_placed(self, records, given)
  local places = {}
  for i, record in ipairs(records) do
    places[i] = { placed(self, record, given[i], i) }
    if not places[i][1] then break end
  end
  return places
end

function methods:send_batch(given)
  local records = check.send_batch(given, self.partition_key)
  for i, place in ipairs(all_placed(self, records, given)) do
    local ok, partition, hash_key = place[1], place[2], place[3]
    if not ok then return i - 1, partition, hash_key end
    local message, code, flags
    ok, message, code, flags = send(self, "send_batch", records[i], partition, hash_key)
    if not ok then return i - 1, message, code, flags end
  end
  return #records
end

-- As soon as the queue has room for it. -> delivery | nil, message, code, flags
local function send_patiently(self, deadline, record, partition, hash_key)
  local timeout = record.timeout
  local sent, message, code, flags = send_expected(self, "send_wait", record, partition, hash_key)
  while code == "QUEUE_FULL" do
    if core.now() >= deadline then
      return nil, ("%s, and was for %.14g s%s"):format(message, timeout,
        delivery.obstacle(self)), code
    end
    if self.loop then self.loop:await_room(deadline - core.now())
    else delivery.wait_and_serve(self, deadline) end
    if self.core:state() == "closed" then
      return nil, "the producer was closed meanwhile: the record was not sent", "CLOSED"
    end
    record.timeout = math.max(0, deadline - core.now())
    sent, message, code, flags = send_expected(self, "send_wait", record, partition, hash_key)
  end
  if sent and self.loop then self.loop:wake_for_room(1) end
  return sent, message, code, flags
end

local LATE = 1 -- the record's own timer is not

-- -> report | nil, message, code, report
local function awaited(sent, deadline, timeout)
  local report = delivery.await(sent, deadline + LATE)
  if report and not report.error then return report end
  if not report or report.code == "TIMED_OUT" then
    local why = report and report.error or "not acknowledged within its timeout; it may still be"
    return nil, (why:gsub("its timeout", ("%.14g s"):format(timeout), 1)), "TIMED_OUT",
      report or nil
  end
  return nil, ("topic '%s': %s"):format(report.topic, report.error), report.code, report
end

-- -> report | nil, message, code, report or flags: as it was sent or not
local function send_and_wait(self, record, partition, hash_key)
  local timeout = record.timeout
  local deadline = core.now() + timeout
  local sent, message, code, flags = send_patiently(self, deadline, record, partition, hash_key)
  if not sent then return nil, message, code, flags end
  return awaited(sent, deadline, timeout)
end

function methods:send_wait(given)
  local record = check.send_wait(given, self.partition_key)
  local placed_well, partition, hash_key = placed(self, record, given)
  if not placed_well then return nil, partition, hash_key end
  self.core:hurry(true)
  local ok, answer, message, code, more = delivery.guarded(self, send_and_wait, self, record,
    partition, hash_key)
  self.core:hurry(false)
  if not ok then error(answer, 0) end
  return answer, message, code, more
end

-- A callback has closed it. 'purged' were before.
local function flushed_by_close(self, purged)
  local stats = self.core:stats()
  local lost = stats.purged - purged + stats.outstanding
  if lost == 0 then return true end
  return nil, ("the producer was closed meanwhile: %d records not acknowledged"):format(lost),
    "CLOSED", lost
end

local function flush(self, timeout)
  local deadline, purged = core.now() + timeout, self.core:stats().purged
  self.core:flush_begin()
  if not self.loop then self.dispatcher:serve() end
  local remaining = self.core:outstanding()
  while true do
    if self.core:state() == "closed" then return flushed_by_close(self, purged) end
    if remaining == 0 then return true end
    if core.now() >= deadline then
      return nil, ("%d records not acknowledged within %.14g s%s"):format(remaining, timeout,
        delivery.obstacle(self)), "TIMED_OUT", remaining
    end
    delivery.wait_and_serve(self, deadline)
    remaining = self.core:outstanding()
  end
end

function methods:flush(timeout)
  return flush(self, check.flush(timeout))
end

-- -> number of callbacks called
function methods:poll(timeout)
  timeout = check.poll(timeout)
  if self.loop then schema.raise("poll(): the producer is served by an event loop") end
  if timeout and timeout > 0 then nginx.refuse_wait(self, "poll") end
  wait(self, core.now() + (timeout or 0))
  return self.dispatcher:serve()
end

function methods:fd()
  return self.core:fd()
end

function methods:configure(given)
  local changes = check.configure(given)
  return self.core:configure(changes.max_queued_records, changes.max_queued_bytes)
end

transactions.add_to(methods)

function lasting:stats()
  return self.core:stats()
end

local PURGE_TIMEOUT, WARNING = 1, 4

-- What is outstanding is purged, and librdkafka's client ended, while the loop goes on.
local function purge_in_loop(self)
  local deadline = core.now() + PURGE_TIMEOUT
  while not self.core:purge() and core.now() < deadline do
    self.loop:await(math.min(PURGE_AGAIN, deadline - core.now()))
  end
  self.core:end_begin()
  deadline = core.now() + END_TIMEOUT
  while not self.core:end_done() and core.now() < deadline do
    self.loop:await(deadline - core.now())
  end
  self.loop:leave() -- the descriptor goes
end

-- What was sent is acknowledged, or its time is over. A callback may have closed it meanwhile.
-- -> as transactions.close
local function settle(self, timeout)
  local deadline = core.now() + timeout
  local ended = transactions.close(self, timeout)
  if not ended and not self.report then flush(self, math.max(0, deadline - core.now())) end
  return ended
end

local function close_core(self, purge_timeout, ended)
  local report = text.report(self.core:close(purge_timeout))
  report.transaction = ended
  self.report = report
end

local function end_core(self, timeout)
  local ended = settle(self, timeout)
  if self.report then return end
  if self.loop then purge_in_loop(self) end
  close_core(self, PURGE_TIMEOUT, ended)
end

local function finish(self)
  self.dispatcher:finish() -- again: where it raised, something is left
  delivery.end_all(self)
  return self.report
end

-- In a coroutine of its own, so that it ends whatever becomes of who asked for it.
local function end_in_loop(self, timeout)
  if self.ends then return end
  self.ends = true
  self.loop:spawn(function()
    self.loop:try("close", end_core, self, timeout)
    self.loop:try("close", finish, self)
    self.ended = true
    self.loop:wake_all()
  end)
end

local function close_in_loop(self, timeout)
  if not self.ended then end_in_loop(self, timeout) end
  local refusal = not self.ended and self.loop:refusal()
  if refusal then return nil, ("close() has begun: %s"):format(refusal), "CANNOT_WAIT" end
  while not self.ended do self.loop:await() end
  return self.report
end

-- It is no more.
local function leave_loop(self)
  self.loop = nil
  self.deliveries.by_id[0] = nil
end

-- Nobody may look at what on_delivery was told of the last records.
local function say_lost(self, report)
  if report.purged == 0 or not self.dispatcher.callbacks.on_delivery then return end
  self.dispatcher:log(WARNING, "producer", ("closed at the end of nginx's worker: %d records were "
    .. "not delivered"):format(report.purged))
end

-- The end of nginx's worker: nothing is served any more, and it is killed soon. Each step is made
-- for all producers before the next, so that they end side by side.
local exit = {}

function exit.settle(self, seconds)
  self.closing = true
  leave_loop(self)
  if self.report then return end
  self.transaction_ended = settle(self, math.max(0, seconds - 2 * EXIT_PURGE))
  if not self.report then self.core:purge() end
end

-- Waits until the condition holds, at most so long. A callback may close it meanwhile.
local function await(self, seconds, condition)
  local deadline = core.now() + seconds
  while not self.report and not condition(self.core) and core.now() < deadline do
    delivery.wait_and_serve(self, math.min(deadline, core.now() + PURGE_AGAIN))
  end
end

function exit.let_go(self, seconds)
  if self.report then return end
  await(self, math.min(EXIT_PURGE, seconds), self.core.purge)
  if not self.report then self.core:end_begin() end
end

function exit.close(self, seconds)
  if self.report then return finish(self) end
  await(self, math.min(EXIT_PURGE, seconds), self.core.end_done)
  if not self.report then close_core(self, 0, self.transaction_ended) end
  local report = finish(self)
  say_lost(self, report)
  return report
end

local function close_at_exit(self, seconds)
  local deadline = core.now() + seconds
  for _, step in ipairs { exit.settle, exit.let_go } do
    step(self, math.max(0, deadline - core.now()))
  end
  return exit.close(self, math.max(0, deadline - core.now()))
end

function lasting:close(given)
  local timeout, seconds = check.close(given).timeout, self.in_nginx and nginx.count_down()
  if self.in_nginx and not (seconds or self.loop or self.report) then
    return nil, "close(): " .. nginx.UNSERVED, "CANNOT_WAIT"
  end
  if seconds then return close_at_exit(self, math.min(seconds, timeout)) end
  self.closing = true -- for good: a callback begins no transaction that nobody ends
  if self.loop then return close_in_loop(self, timeout) end
  if not self.report then end_core(self, timeout) end
  return finish(self)
end

local class = object.class("producer", "strand.Producer", methods, lasting)

local function attended(self, ...)
  if self.loop then self.loop:attend() end
  return ...
end

-- nginx's worker is to end, and nobody serves a producer that has nothing to do: what is sent then by
-- who does not wait has it served again.
local function attend_to_senders(self)
  for _, name in ipairs { "send", "send_async", "send_batch" } do
    local method = self[name]
    self[name] = function(...) return attended(self, method(...)) end
  end
end

-- For an event loop (loop/service.lua).
class.metatable.serving = {
  noun = "producer",
  attach = function(self)
    self.deliveries.by_id[0] = self.loop.reported
    self.core:enter_loop()
    return true
  end,
  turn = function(self) return self.dispatcher:serve() end,
  is_over = function(self) return self.ended == true end,
  is_busy = function(self)
    local outstanding, untaken = self.core:outstanding()
    return outstanding > 0 or untaken > 0
  end,
  -- Requests that nginx still serves may send: it closes at the very end.
  quit = function(self, seconds)
    if not self.loop.quits_at then -- once: this comes each second
      self.core:hurry(true)
      attend_to_senders(self)
    end
    self.loop:quit(seconds)
  end,
  hasten = function(self) self.core:flush_begin() end,
  settle = exit.settle,
  let_go = exit.let_go,
  on_exit = function(self, seconds)
    if seconds then return exit.close(self, seconds) end
    leave_loop(self)
    class.metatable.__index.close(self, { timeout = EXIT_TIMEOUT })
  end,
}

-- Nearly every record is as it should be, and then C reads and sends it: these
-- stand in the producer itself. All else is for the methods above, which check
-- each field and word what is wrong. A producer with functions of the user's has
-- no others: they may yield, and not below one of C's.
local function send_plain(self, userdata)
  local checked = class.metatable.__index
  self.send = core.plain_send(self, userdata, checked.send)
  self.send_batch = core.plain_send_batch(self, userdata, checked.send_batch)
end

function producer.open(given)
  nginx.check_open "producer"
  local flat, own = check.open(given)
  local userdata, message, code = core.producer(flat)
  if message then message = properties.hide_secrets(message, flat.kafka) end
  local self, problem
  self, problem, code = object.open(class, {
    partition_key = own.partition_key, partitioner = own.partitioner,
    plain = not (own.partition_key or own.partitioner),
    name = properties.find(flat.kafka, "client.id") or "rdkafka",
    deliveries = delivery.list(),
  }, userdata, message, code)
  if not self then return nil, problem, code end
  if self.plain then send_plain(self, userdata) end
  self.dispatcher = dispatcher.new(userdata, own, self.deliveries.by_id)
  if own.oauth_token then
    self.dispatcher:serve() -- the first is due now: without it nothing is sent
    if own.partitioner then self.core:await_topics() end
  end
  return self
end

return producer
