-- invoice.lua
-- An order becomes an invoice, and a charge for the bank.
local json = require "cjson"
local addresses = require "addresses"

local VAT = { DE = 19, FR = 20, NL = 21 } -- percent

local function add_vat(order)
  return order.cents + math.floor(order.cents * VAT[order.country] / 100 + 0.5)
end

return function(record, context)
  local order = json.decode(record.value)
  local cents, topics = add_vat(order), context.args
  context:produce { topic = topics.charges, key = record.key,
    value = json.encode { order = order.number, cents = cents } }
  -- It may raise. Then the charge above is not sent, and all is tried again.
  local address = addresses.find(record.key)
  context:produce { topic = topics.invoices, key = record.key,
    value = json.encode { order = order.number, cents = cents, address = address } }
end
