-- ledger.lua: what the tables must hold, by the events alone
--
-- Keeps the books of the same events without any database: each order is what
-- its last event left of it. What follows a poison event has the same key and
-- waits behind it, be it an event or not.

local ledger = {}
ledger.__index = ledger

function ledger.new()
  return setmetatable({ orders = {}, invoices = {}, blocked = {},
    events = 0, applied = 0, behind = 0, poison = 0, malformed = 0 }, ledger)
end

local enter = {}

function enter.order_creation(books, id, event)
  books.orders[id] = { customer = event.customer, cents = event.cents, status = "open" }
end

function enter.order_updation(books, id, event)
  books.orders[id].cents, books.orders[id].status = event.cents, event.status
end

function enter.invoice_creation(books, id, event, topic)
  books.orders[id].status = "invoiced"
  books.invoices[topic .. "/" .. event.number] =
    { channel = topic, number = event.number, sync_id = event.sync_id, cents = event.cents }
end

--- Enters what was sent; 'event' is nil when it was malformed.
function ledger:add(topic, key, event)
  self.events = self.events + 1
  local id = topic .. "/" .. key
  if self.blocked[id] then
    self.behind = self.behind + 1
  elseif not event then
    self.malformed = self.malformed + 1
  elseif event.cents < 0 then
    self.blocked[id], self.poison = true, self.poison + 1
  else
    enter[event.event](self, id, event, topic)
    local order = self.orders[id]
    order.channel, order.sync_id, order.revision = topic, event.sync_id, event.revision
    self.applied = self.applied + 1
  end
end

local ORDERS = { "channel", "sync_id", "revision", "customer", "cents", "status" }
local INVOICES = { "channel", "number", "sync_id", "cents" }

-- One driver gives numbers, the other their digits.
local function line(row, columns)
  local words = {}
  for i, name in ipairs(columns) do
    local value = row[name]
    words[i] = type(value) == "number" and ("%.0f"):format(value) or tostring(value)
  end
  return table.concat(words, "|")
end

local function count_differences(rows, expected, columns)
  local due, differences = {}, 0
  for _, row in pairs(expected) do due[line(row, columns)] = true end
  for _, row in ipairs(rows) do
    local text = line(row, columns)
    if not due[text] then differences = differences + 1 end
    due[text] = nil
  end
  for _ in pairs(due) do differences = differences + 1 end
  return differences
end

--- Compares with the tables, row by row. -> number of rows that are wrong or
--- missing, number of rows. 'mine' is a condition for the rows of these topics.
function ledger:compare(db, mine)
  local orders = db:run("SELECT * FROM orders WHERE " .. mine)
  local invoices = db:run("SELECT * FROM invoices WHERE " .. mine)
  return count_differences(orders, self.orders, ORDERS)
    + count_differences(invoices, self.invoices, INVOICES), #orders + #invoices
end

return ledger
