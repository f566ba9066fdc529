-- orders.lua: the events of many orders, as a shop sends them
--
-- The events of one order come in sequence, between those of other orders.

local orders = {}

local SHIPPED = { "order_confirmed", "order_payment_success", "order_shipped" }
local CANCELLED = { "order_confirmed", "order_payment_success", "order_cancelled" }
local CANCELLED_EARLY = { "order_confirmed", "order_cancelled" }
local STORIES = { SHIPPED, SHIPPED, CANCELLED, CANCELLED_EARLY }

local AT_ONCE = 200 -- orders whose events are mixed

local function new_order(n)
  return { id = ("order-%05d"):format(n), story = STORIES[math.random(#STORIES)], sent = 0 }
end

-- Calls send(order_id, number, type) for each event of 'count' orders.
-- -> number of events of each order: { [order_id] = 3, ... }, and their sum
function orders.each_event(count, send)
  local open, made, numbers, sum = {}, 0, {}, 0
  while made < count or #open > 0 do
    while #open < AT_ONCE and made < count do
      made = made + 1
      open[#open + 1] = new_order(made)
    end
    local i = math.random(#open)
    local order = open[i]
    order.sent = order.sent + 1
    send(order.id, order.sent, order.story[order.sent])
    if order.sent == #order.story then
      numbers[order.id], sum = order.sent, sum + order.sent
      open[i] = open[#open]
      open[#open] = nil
    end
  end
  return numbers, sum
end

return orders
