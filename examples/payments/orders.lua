-- orders.lua: orders of many customers, mixed; those of a customer are numbered

local json = require "cjson"

local orders = {}
orders.__index = orders

local CUSTOMERS = 300
local COUNTRIES = { "DE", "FR", "NL" }

-- A list of { customer, number, cents, country }, as they were sent.
function orders.new()
  return setmetatable({ numbers = {} }, orders)
end

-- Calls send(customer, text) for each of 'count' more orders.
function orders:more(count, send)
  for _ = 1, count do
    local customer = ("customer-%03d"):format(math.random(CUSTOMERS))
    local number, cents = (self.numbers[customer] or 0) + 1, math.random(100, 100000)
    local country = COUNTRIES[math.random(#COUNTRIES)]
    self.numbers[customer] = number
    self[#self + 1] = { customer = customer, number = number, cents = cents, country = country }
    send(customer, json.encode { number = number, cents = cents, country = country })
  end
end

return orders
