-- produce.lua: strand, a record produced for each that is read, as fast as it goes
--
--   produce.lua BROKERS TOPIC RECORDS OUT [WORKERS = 4] [OPTIONS]
--
-- OPTIONS are further ones of strand.consumer, in Lua. Prints "records N",
-- "seconds S" and "cpu C" as 'raw copy' does: S from the first record handled to
-- the acknowledgement of the Nth output, C the process's CPU seconds (all
-- threads) from the start to that. N is what had come when 19 of 20 had: the last
-- transaction waits for its interval.

local core = require "strand.core"
local strand = require "strand"

local brokers, topic, records, out = arg[1], arg[2], tonumber(arg[3]), arg[4]
local PATIENCE = 60

local options = assert((loadstring or load)("return {" .. (arg[6] or "") .. "}"))()
options.kafka = { ["bootstrap.servers"] = brokers,
  ["group.id"] = ("strand-produce-%.0f"):format(core.now() * 1e6) }
options.topics, options.workers = { topic }, tonumber(arg[5] or 4)
options.handler, options.handler_args, options.producer = "copy", out, {}
local consumer = assert(strand.consumer(options))

-- What is acknowledged is exact at any time, and so is 'idle', to a tick of the
-- coarse clock (4 ms).
local function wait_until(reached)
  local deadline = core.now() + PATIENCE
  while true do
    consumer:step(0.005)
    local stats = consumer:stats()
    if reached(stats) then return end
    if core.now() > deadline then
      error(("%d of %d outputs after %d s"):format(stats.outputs_acknowledged, records, PATIENCE))
    end
  end
end

local cpu = os.clock()
assert(consumer:start())
local begun = core.now() - consumer:stats().idle
local first
wait_until(function(stats)
  first = core.now() - stats.idle
  return first > begun + 0.01
end)
local counted
wait_until(function(stats)
  counted = stats.outputs_acknowledged
  return counted >= 0.95 * records
end)
local last = core.now()
cpu = os.clock() - cpu
wait_until(function(stats) return stats.outputs_acknowledged >= records end)

local report = assert(consumer:close())
assert(report.done == records and report.failed == 0 and report.outputs_sent == records,
  "not every record was done once")
print(("records %d\nseconds %.6f\ncpu %.6f"):format(counted, last - first, cpu))
