-- erp.lua: the events of many orders, as an ERP sends them
--
-- Three channels, a topic each. The events of one order come in sequence,
-- between those of other orders: it is created, updated some times, perhaps
-- sent whole once more, invoiced, and perhaps the invoice is put right. A few
-- orders are poison: an update brings a negative amount, which the database
-- refuses; and what follows goes on. Here and there a record is no event.

local json = require "cjson"

local erp = {}

local AT_ONCE = 200                      -- orders whose events are mixed
local POISON, MALFORMED = 0.005, 0.005   -- of the orders, of the events
local CUSTOMERS = { "Ada", "Grace", "O'Hara & Sons", [[C:\Back\slash]], "Ärger; DROP TABLE orders" }

local function amount() return math.random(100, 100000) end

local makers = {}

function makers.order_creation()
  return { customer = CUSTOMERS[math.random(#CUSTOMERS)], cents = amount() }
end

function makers.order_updation()
  return { cents = amount(), status = "updated" }
end

function makers.invoice_creation(order)
  return { number = "I-" .. order.sync_id, cents = amount() }
end

local function new_story()
  local story = { "order_creation" }
  for _ = 1, math.random(0, 3) do story[#story + 1] = "order_updation" end
  if math.random(5) == 1 then story[#story + 1] = "order_creation" end
  story[#story + 1] = "invoice_creation"
  if math.random(5) == 1 then story[#story + 1] = "invoice_creation" end
  return story
end

-- Every so many it must be poison, so that there is one among a few too.
local function new_order(number, topics)
  local order = { sync_id = ("S-%06d"):format(number), topic = topics[math.random(#topics)],
    story = new_story(), revision = 0 }
  if number % math.floor(1 / POISON) == 1 then
    order.poison = 2
    table.insert(order.story, 2, "order_updation")
  end
  return order
end

-- What can go wrong with an event on its way.
local spoilers = {
  function(text) return text:sub(1, math.floor(#text / 2)) end,
  function(text) return (text:gsub('"event":"[^"]*"', '"event":"order_deletion"')) end,
  function(text) return (text:gsub('"cents":%-?%d+', '"cents":"many"')) end,
  function(text) return (text:gsub('"sync_id":"', '"sync_id":"X')) end,
  function() return "" end,
  function() return nil end,
}

local function next_event(order)
  order.revision = order.revision + 1
  local name = order.story[order.revision]
  local event = makers[name](order)
  event.event, event.sync_id, event.revision = name, order.sync_id, order.revision
  if order.revision == order.poison then event.cents = -event.cents end
  return event
end

--- Calls send(topic, key, value, event) for each record of 'count' orders; a
--- malformed record has no 'event'.
function erp.each_event(count, topics, send)
  local open, made, sent = {}, 0, 0
  while made < count or #open > 0 do
    while #open < AT_ONCE and made < count do
      made = made + 1
      open[#open + 1] = new_order(made, topics)
    end
    local at = math.random(#open)
    local order = open[at]
    local event = next_event(order)
    local text = json.encode(event)
    sent = sent + 1
    if sent % math.floor(1 / MALFORMED) == 1 then
      local spoil = spoilers[math.floor(sent * MALFORMED) % #spoilers + 1]
      send(order.topic, order.sync_id, spoil(text), nil)
    end
    send(order.topic, order.sync_id, text, event)
    if order.revision == #order.story then
      open[at] = open[#open]
      open[#open] = nil
    end
  end
end

return erp
