-- Producer torture: a producer sends in every way that there is while the
-- brokers of a mock cluster go away and come back, and is closed in the middle.
-- Each record that a call accepted has to be resolved, once.
local strand = require "strand"
local system = require "system"

local sends = {}
sends.__index = sends

local BROKERS, PARTITIONS, STREAMS = 3, 6, 16
local CHANGE = 3       -- seconds: the brokers go, or come back
local LINGERS = { 0, 5, 50 }
local PATIENCE = 0.2   -- seconds that a send_wait takes at most
local FATAL = "OUT_OF_ORDER_SEQUENCE_NUMBER"

-- Who is accepted, and who was told of it, by the record's number.
local function book()
  return { accepted = 0, open = 0, told = {}, delivered = 0, failed = 0, purged = 0,
    uncertain = 0, wrong = {} }
end

local function complain(self, text, ...)
  local wrong = self.book.wrong
  wrong[#wrong + 1] = text:format(...)
end

-- A report that says neither where the record is nor why it is not is wrong.
local function is_whole(report)
  if report.error then return report.code ~= nil and type(report.certain) == "boolean" end
  return report.offset ~= nil and report.offset >= 0 and report.partition ~= nil
end

local PURGED = { PURGE_QUEUE = true, PURGE_INFLIGHT = true }

local function resolve(self, report)
  local b, number = self.book, tonumber(report.key)
  if b.told[number] then return complain(self, "record %s was resolved twice", report.key) end
  if not is_whole(report) then complain(self, "record %s: half a report", report.key) end
  b.told[number] = true
  if not report.error then b.delivered = b.delivered + 1
  elseif PURGED[report.code] then b.purged = b.purged + 1
  else b.failed = b.failed + 1 end
  if report.error and not report.certain then b.uncertain = b.uncertain + 1 end
end

-- ---- ways of sending ------------------------------------------------------------

local function record_of(self, number)
  local record = { topic = self.topic, key = tostring(number), value = self.value,
    partition_key = tostring(number % STREAMS) }
  if math.random(20) == 1 then record.timeout = math.random() end
  if math.random(50) == 1 then record.headers = { { "n", record.key } } end
  return record
end

local function accept(self, count)
  self.book.accepted = self.book.accepted + count
end

local ways = {}

function ways.send(self, number)
  local ok, message, code = self.producer:send(record_of(self, number))
  if ok then accept(self, 1) end
  return ok, message, code
end

function ways.send_batch(self, number)
  local list = {}
  for i = 1, math.min(math.random(50), self.last - number + 1) do
    list[i] = record_of(self, number + i - 1)
  end
  local sent, message, code = self.producer:send_batch(list)
  accept(self, sent)
  return sent > 0, message, code
end

function ways.send_async(self, number)
  local delivery, message, code = self.producer:send_async(record_of(self, number))
  if not delivery then return nil, message, code end
  accept(self, 1)
  self.deliveries[#self.deliveries + 1] = delivery
  return true
end

function ways.send_wait(self, number)
  local record = record_of(self, number)
  record.timeout = PATIENCE
  local report, message, code, failed = self.producer:send_wait(record)
  if report or failed then
    accept(self, 1)
    resolve(self, report or failed)
    return true
  end
  return nil, message, code
end

local function way_of(self)
  local roll = math.random(10000)
  if roll == 1 and self.waits < 20 then
    self.waits = self.waits + 1
    return ways.send_wait
  end
  if roll < 300 then return ways.send_batch end
  return roll < 1500 and ways.send_async or ways.send
end

-- ---- what befalls it ---------------------------------------------------------------

local function take_deliveries(self, is_over)
  local kept = {}
  for _, delivery in ipairs(self.deliveries) do
    local report = delivery:done()
    if report then resolve(self, report)
    elseif is_over then complain(self, "a delivery has no report after close")
    else kept[#kept + 1] = delivery end
  end
  self.deliveries = kept
end

local function change_brokers(self)
  if system.monotime() < self.change_at then return end
  self.change_at = system.monotime() + CHANGE
  self.is_down = not self.is_down
  if self.is_down then
    self.broker = math.random(2) == 1 and math.random(BROKERS) or nil -- else all of them
    assert(self.mock:down(self.broker))
  else
    assert(self.mock:up(self.broker))
    if math.random(3) == 1 then assert(self.mock:fail("Produce", FATAL, 1)) end
  end
end

local function serve(self)
  self.producer:poll(0)
  take_deliveries(self)
  change_brokers(self)
end

-- Until there is room again.
local function wait_room(self, code, message)
  assert(code == "QUEUE_FULL", message)
  self.producer:poll(0.05)
  take_deliveries(self)
  change_brokers(self)
end

local function flow(self)
  while self.book.accepted < self.last do
    local ok, message, code = way_of(self)(self, self.book.accepted + 1)
    if not ok then wait_room(self, code, message) end
    if self.book.accepted >= self.serve_at then
      self.serve_at = self.book.accepted + 500
      serve(self)
    end
  end
end

-- ---- a run ---------------------------------------------------------------------------

local function check_sum(self, report)
  local b, stats = self.book, self.producer:stats()
  for number = 1, b.accepted do
    if not b.told[number] then complain(self, "record %d was accepted and never resolved", number) end
  end
  local function is(name, expected, found)
    if expected ~= found then complain(self, "%s: %d, and %d are counted", name, expected, found) end
  end
  is("sent", b.accepted, report.sent)
  is("delivered", b.delivered, report.delivered)
  is("failed", b.failed, report.failed)
  is("purged", b.purged, report.purged)
  is("outstanding", 0, stats.outstanding)
  is("reports that wait", 0, stats.undelivered_reports)
end

local function open(self)
  self.mock = assert(strand.mock { brokers = BROKERS, log = false })
  self.topic = "sends"
  assert(self.mock:create_topic(self.topic, PARTITIONS))
  self.producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = self.mock.bootstrap_servers, ["reconnect.backoff.max.ms"] = 200,
      ["linger.ms"] = LINGERS[math.random(#LINGERS)] },
    log = function() end, max_queued_records = 50000,
    on_event = function(event) if event.type == "renewed" then self.renewed = self.renewed + 1 end end,
    on_delivery = function(report) resolve(self, report) end,
  })
end

--- One producer's life: it sends at most so many, and is closed somewhere in
--- the middle. -> what was counted; wrong: a list of what should not be
function sends.run(seed, most)
  math.randomseed(seed)
  local self = { book = book(), deliveries = {}, waits = 0, renewed = 0, is_down = false,
    serve_at = 0, value = ("v"):rep(math.random(200)),
    last = math.random(most // 2, most), change_at = system.monotime() + CHANGE * math.random() }
  open(self)
  local ok, problem = pcall(function()
    flow(self)
    local report = self.producer:close { timeout = math.random(0, 20) / 10 }
    take_deliveries(self, true)
    check_sum(self, report)
  end)
  if not ok then complain(self, "%s", problem) end
  self.producer:close { timeout = 0 }
  self.mock:close()
  self.book.renewed = self.renewed
  return self.book
end

return sends
