-- commits.lua: how long the commit of a transaction takes
--
--   commits.lua BROKERS TOPIC OUT
--
-- Exactly once, a record produced for each that is read, 2,000 a second: so a
-- commit half a second after the one before is for 1,000 outputs, and for as many
-- as were handled meanwhile. Prints "commits N", "outputs N" (of one, as it was), "p50_ms M", "max_ms M":
-- each from the call to the answer. The first do not count.

local core = require "strand.core"
local strand = require "strand"

local brokers, topic, out = arg[1], arg[2], arg[3]
local APART, A_SECOND, WARM, COUNT = 0.5, 2000, 3, 21

local name = ("strand-commits-%.0f"):format(core.now() * 1e6)
local consumer = assert(strand.consumer {
  kafka = { ["bootstrap.servers"] = brokers, ["group.id"] = name },
  topics = { topic }, workers = 4, handler = "copy", handler_args = out, producer = {},
  rate = { records_per_second = A_SECOND, burst = A_SECOND * APART },
  delivery = "exactly_once", transactional_id = name,
  transaction_interval = 299, transaction_timeout = 300, -- no commit but those asked for here
})

local function outputs() return consumer:stats().outputs_sent end

local function rest()
  local until_then = core.now() + APART
  repeat consumer:step(math.max(0, until_then - core.now())) until core.now() >= until_then
end

local function commit()
  local begun = core.now()
  assert(consumer:commit(30))
  return (core.now() - begun) * 1000
end

assert(consumer:start())
repeat consumer:step(0.1) until outputs() > 0
for _ = 1, WARM do rest(); commit() end
local before, took = outputs(), {}
for i = 1, COUNT do
  rest()
  took[i] = commit()
end
local count = (outputs() - before) / COUNT
assert(consumer:close())
table.sort(took)
print(("commits %d\noutputs %.0f\np50_ms %.3f\nmax_ms %.3f"):format(COUNT, count,
  took[(COUNT + 1) / 2], took[COUNT]))
