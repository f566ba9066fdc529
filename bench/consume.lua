-- consume.lua: strand, as fast as it goes
--
--   consume.lua BROKERS TOPIC RECORDS HANDLER [WORKERS = 4] [ORDERING = key] [OPTIONS]
--
-- OPTIONS are further ones of strand.consumer, in Lua: "deadline = 10".
-- Prints "records N", "seconds S" and "cpu C" as 'raw read' does: S from the
-- first record handled to the last, C the process's CPU seconds (all threads)
-- from the start to the last record.

local strand = require "strand"

local brokers, topic, records, handler = arg[1], arg[2], tonumber(arg[3]), arg[4]
local workers = tonumber(arg[5] or 4)
local ordering = arg[6] or "key"
local PATIENCE = 60

local core = require "strand.core"

local options = assert((loadstring or load)("return {" .. (arg[7] or "") .. "}"))()
options.kafka = {
  ["bootstrap.servers"] = brokers,
  ["group.id"] = ("strand-%s-%.0f"):format(handler, core.now() * 1e6),
}
options.topics, options.ordering = { topic }, ordering
options.workers, options.handler = workers, handler
local consumer = assert(strand.consumer(options))

local function ended_at(stats) return core.now() - stats.idle end

-- 'idle' is exact to a tick of the coarse clock (4 ms), at any time; 'done'
-- is what the owner published last, at most a quarter of a second ago.
local function wait_until(seconds, reached)
  local deadline = core.now() + PATIENCE
  while true do
    consumer:step(seconds)
    local stats = consumer:stats()
    if reached(stats) then return ended_at(stats) end
    if core.now() > deadline then
      error(("%d of %d records after %d s"):format(stats.done, records, PATIENCE))
    end
  end
end

-- What was committed starts at 0: when it adds up to as many records as were
-- done, each was done once.
local function check(report)
  local committed = 0
  for _, place in ipairs(report.committed) do committed = committed + place.offset end
  assert(report.done == records and report.failed == 0 and committed == records,
    "not every record was done once")
end

local cpu = os.clock()
assert(consumer:start())
local begun = ended_at(consumer:stats())
local first = wait_until(0.01, function(stats) return ended_at(stats) > begun + 0.01 end)
local last = wait_until(0.05, function(stats) return stats.done >= records end)
cpu = os.clock() - cpu
check(assert(consumer:close()))
print(("records %d\nseconds %.6f\ncpu %.6f"):format(records, last - first, cpu))
