-- shop.lua: what nginx.conf calls

local apply_order = require "apply_order"
local json = require "cjson.safe"
local strand = require "strand"

local shop = {}

local TOPIC = os.getenv "STRAND_TOPIC" or "orders"
local BROKER = os.getenv "STRAND_BROKER" or "localhost:9092"
local PATIENCE = 20 -- seconds for an acknowledgement

local producer -- this worker's

--- In init_worker_by_lua: opens both, and has nginx serve them.
function shop.start()
  producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = BROKER } })
  local consumer = assert(strand.consumer {
    kafka = { ["bootstrap.servers"] = BROKER, ["group.id"] = TOPIC .. "-apply" },
    topics = { TOPIC },
    ordering = "key",     -- orders of one customer one after another
    workers = 0,          -- handlers in nginx's event loop ...
    max_in_flight = 100,  -- ... up to 100 of them at once, in each worker
    handler = apply_order,
  })
  assert(strand.loop.resty.start(producer))
  assert(strand.loop.resty.start(consumer))
end

local function answer(status, body)
  ngx.status = status
  ngx.say(json.encode(body))
end

local function read_order()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  local order = text and json.decode(text)
  local fine = type(order) == "table" and type(order.customer) == "string"
    and type(order.number) == "number" and type(order.cents) == "number"
  return fine and order, text
end

--- In content_by_lua. 201: Kafka has it. 503: it may have it, so send it again; the order's
--- number says that it is the same one.
function shop.order()
  local order, text = read_order()
  if not order then return answer(400, { error = "customer, number and cents expected" }) end
  local report, problem, code = producer:send_wait { topic = TOPIC, key = order.customer,
    value = text, timeout = PATIENCE }
  if not report then return answer(503, { error = problem, code = code }) end
  answer(201, { partition = report.partition, offset = report.offset })
end

--- All workers in one answer.
function shop.stats()
  answer(200, strand.loop.resty.stats())
end

function shop.health()
  local ok, reason, code = strand.loop.resty.health()
  answer(ok and 200 or 503, { ok = ok == true, reason = reason, code = code })
end

local ROW = "<tr><td>%s<td>%d<td>%d<td>%d<td>%d<td>%d"

local function row(name, answered)
  local _, consumer = next(answered.consumers)
  local _, sending = next(answered.producers)
  consumer, sending = consumer or {}, sending or {}
  ngx.say(ROW:format(name, sending.delivered or 0, sending.outstanding or 0, consumer.done or 0,
    consumer.in_flight or 0, consumer.true_lag or 0))
end

--- For people.
function shop.page()
  local stats = strand.loop.resty.stats()
  ngx.say "<!doctype html><title>Orders</title><h1>Orders</h1><table border=1 cellpadding=5>"
  ngx.say "<tr><th>worker<th>accepted<th>under way<th>applied<th>being applied<th>behind"
  for _, worker in ipairs(stats.workers) do row(worker.pid, worker) end
  row("all", stats)
  ngx.say "</table>"
end

return shop
