-- soak.lua: does memory grow while a topic is read again and again?
--
--   soak.lua BROKERS TOPIC RECORDS MINUTES
--
-- Reads the topic, seeks to its start, reads it again. Memory (RSS) is
-- sampled each second; the slope is a straight line's by least squares over
-- what follows the first fifth of the time (two minutes of ten).

local strand = require "strand"
local core = require "strand.core"
local probe = require "probe"

local brokers, topic, records, minutes = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local PATIENCE = 60
local MIB = 1024 * 1024

local consumer = assert(strand.consumer {
  kafka = {
    ["bootstrap.servers"] = brokers,
    ["group.id"] = ("soak-%.0f"):format(core.now() * 1e6),
  },
  topics = { topic }, workers = 4, handler = "empty", start_timeout = PATIENCE,
})

local samples = {} -- { seconds, MiB }
local begun = core.now()

local function sample()
  local at = core.now() - begun
  if at < #samples then return end
  samples[#samples + 1] = { at, probe.rss() / MIB }
  if #samples % 60 == 0 then
    print(("minute %d: %.1f MiB, %d records"):format(#samples / 60, samples[#samples][2],
      consumer:stats().done))
    io.flush()
  end
end

local function read_all(total)
  local deadline = core.now() + PATIENCE
  repeat
    consumer:step(0.05)
    sample()
    assert(core.now() < deadline, "not every record came")
  until consumer:stats().done >= total
end

local function rewind()
  for _, place in ipairs(consumer:assignment()) do
    assert(consumer:seek { topic = topic, partition = place.partition, offset = "earliest" })
    sample()
  end
end

-- MiB that the line rises from the first to the last sample after 'from'.
local function rise(from)
  local n, sx, sy, sxx, sxy, first, last = 0, 0, 0, 0, 0, nil, nil
  for _, s in ipairs(samples) do
    local x, y = s[1], s[2]
    if x >= from then
      first, last = first or x, x
      n, sx, sy, sxx, sxy = n + 1, sx + x, sy + y, sxx + x * x, sxy + x * y
    end
  end
  return (n * sxy - sx * sy) / (n * sxx - sx * sx) * (last - first)
end

assert(consumer:start())
local passes = 0
repeat
  if passes > 0 then rewind() end
  passes = passes + 1
  read_all(passes * records)
until core.now() - begun >= minutes * 60
local report = assert(consumer:close())
assert(report.done == passes * records and report.failed == 0, "not every record was done once")
print(("%d times %d records in %.0f s"):format(passes, records, samples[#samples][1]))
print(("figure rss_slope_mb %.3f"):format(rise(minutes * 60 / 5)))
