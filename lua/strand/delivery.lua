-- delivery.lua: the handle of a record that was sent by send_async
--
-- Who has it may wait for the record's report, or look whether it has come,
-- as often as wanted. A producer knows its deliveries by their ids, and
-- weakly: one that nobody has any more is no matter to it.

local core = require "strand.core"
local object = require "strand.object"
local check = require "strand.options.producer"
local text = require "strand.text"

local delivery = {}

-- Until the producer has something to serve, or until the deadline (nil: none).
function delivery.wait_until(producer, deadline)
  if producer.dispatcher:pending() then return end
  core.wait({ producer.core:fd() }, deadline and math.max(0, deadline - core.now()))
end

-- " (WHY)": what is known to be in the way of records; or nothing.
function delivery.obstacle(producer)
  local obstacle = producer.core:obstacle()
  return obstacle and (" (%s)"):format(obstacle) or ""
end

-- The same, and serves it. In an event loop another coroutine does.
function delivery.wait_and_serve(producer, deadline)
  if producer.loop then
    return producer.loop:await(deadline and math.max(0, deadline - core.now()))
  end
  delivery.wait_until(producer, deadline)
  producer.dispatcher:serve()
end

-- Functions that wait are called so that something can be done after them, whatever they raise.
function delivery.guarded(producer, f, ...)
  if producer.loop then return producer.loop.guard(f, ...) end
  return pcall(f, ...)
end

-- A callback may close the producer: then each delivery has its report.
local function serve_until(self, deadline)
  local producer = self.producer
  while not self.report and core.now() < deadline do
    if producer.loop then producer.loop:await_report(self, math.max(0, deadline - core.now()))
    else delivery.wait_and_serve(producer, deadline) end
  end
end

-- What has come, into the deliveries of those that wait for it.
local function gather(producer)
  producer.dispatcher:gather()
  if producer.loop then producer.loop:wake_reported() end
end

-- Serves until the report is there; nothing lingers meanwhile.
-- -> report | false: it did not come until then
function delivery.await(self, deadline)
  gather(self.producer)
  if self.report then return self.report end
  self.core:hurry(true)
  local ok, problem = delivery.guarded(self.producer, serve_until, self, deadline)
  self.core:hurry(false)
  if not ok then error(problem, 0) end
  return self.report
end

local methods = {}

function methods:wait(timeout)
  timeout = check.wait(timeout)
  local report = delivery.await(self, core.now() + timeout)
  if report then return report end
  return nil, ("no report within %.14g s%s"):format(timeout, delivery.obstacle(self.producer)),
    "TIMED_OUT"
end

function methods:done()
  if not self.report then gather(self.producer) end
  return self.report or nil
end

local class = object.class("delivery", "strand.Delivery", {}, methods)
class.metatable.__close = nil
function class.metatable:__tostring()
  return ("strand.Delivery (%s)"):format(self.report and tostring(self.report) or "no report yet")
end

-- Those of a producer ---------------------------------------------------------

-- by_id: weak, so that each ends with who waits for it. C puts reports in, and in an event loop
-- those that coroutines wait for into the list at 0.
function delivery.list()
  return { by_id = setmetatable({}, { __mode = "v" }), last_id = 0 }
end

-- Of a record that is sent next, which send(id) does: known before that, since
-- afterwards nothing may fail. -> delivery, or what send gave: nil or false, message, code, flags
function delivery.open(producer, topic, send)
  local list = producer.deliveries
  local id = list.last_id + 1
  local self = setmetatable({ core = producer.core, producer = producer, topic = topic,
    report = false }, class.metatable)
  list.last_id, list.by_id[id] = id, self
  local ok, message, code, flags = send(id)
  if ok then return self end
  list.by_id[id] = nil
  return ok, message, code, flags
end

-- The producer is closed, and no more reports will come.
function delivery.end_all(producer)
  producer.deliveries.by_id[0] = nil
  for id, waiting in pairs(producer.deliveries.by_id) do
    waiting.report = setmetatable({ topic = waiting.topic, code = "CLOSED", certain = false,
      error = "the producer was closed before the record's report came: it may have been delivered" },
      text.delivery_report)
    producer.deliveries.by_id[id] = nil
    if producer.loop and waiting.waiters then producer.loop:add_reported(waiting) end
  end
  if producer.loop then producer.loop:wake_reported() end
end

return delivery
