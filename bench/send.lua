-- send.lua: strand's producer, as fast as it goes
--
--   send.lua BROKERS TOPIC RECORDS BYTES counted|reports
--
-- A table for each record, as programs have it. "counted": nobody takes the
-- reports; "reports": on_delivery does. A tenth of the records goes before, to
-- warm what there is. Prints "records N", "seconds S" and "cpu C" as raw_send.c
-- does: S from the first record to the last acknowledgement, C the process's CPU
-- seconds (all threads) of that time.

local core = require "strand.core"
local strand = require "strand"

local brokers, topic, records = arg[1], arg[2], tonumber(arg[3])
local bytes, how = tonumber(arg[4]), arg[5]
local KEYS, VALUES, SERVE_EACH = 10000, 1000, 1000 -- raw_send.c's too

local keys, values = {}, {}
for i = 1, KEYS do keys[i] = ("key-%d"):format(i) end
local urandom = assert(io.open("/dev/urandom", "rb"))
for i = 1, VALUES do values[i] = urandom:read(bytes) end
urandom:close()

local taken = 0
local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = brokers },
  topics = { topic }, on_delivery = how == "reports" and function(report)
    if report.error then error(report.error) end
    taken = taken + 1
  end or nil })

local function send(record)
  while true do
    local ok, message, code = producer:send(record)
    if ok then return end
    if code ~= "QUEUE_FULL" then error(message) end
    producer:poll(1)
  end
end

local sent = 0
local function send_all(count)
  for i = 0, count - 1 do
    send { topic = topic, key = keys[i % KEYS + 1], value = values[i % VALUES + 1] }
    if i % SERVE_EACH == 0 then producer:poll(0) end
  end
  assert(producer:flush(120))
  sent = sent + count
  assert(producer:stats().delivered == sent, "not every record was delivered")
  assert(how ~= "reports" or taken == sent, "not every report was taken")
end

send_all(math.floor(records / 10))
local cpu, start = os.clock(), core.now()
send_all(records)
print(("records %d\nseconds %.6f\ncpu %.6f"):format(records, core.now() - start, os.clock() - cpu))
producer:close()
