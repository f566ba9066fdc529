-- bare.lua: so many coroutines of an event loop that do nothing but sleep
--
--   bare.lua LOOP IN_FLIGHT MS RECORDS     each sleeps again and again; prints as in_flight.lua
--   bare.lua LOOP IN_FLIGHT MS RECORDS new each sleeps once, and spawns the next
--   bare.lua LOOP IN_FLIGHT waiting        bytes in use while all sleep: "bytes B"
--
-- The least that handlers which wait can cost in this loop.

local loop = require "loops"[arg[1]]
local meters = require "meter"
local probe = require "probe"

local count = tonumber(arg[2])

if arg[3] == "waiting" then
  local before = probe.used()
  for _ = 1, count do
    loop.spawn(function() loop.sleep(3600) end)
  end
  loop.spawn(function()
    loop.sleep(1)
    collectgarbage()
    collectgarbage()
    print(("bytes %.0f"):format((probe.used() - before) / count))
    io.flush()
    os.exit(true)
  end)
  loop.run()
else
  local seconds, records = tonumber(arg[3]) / 1000, tonumber(arg[4])
  local turns = math.floor(records / count)
  local meter = meters.new(turns * count)
  local left = (turns - 1) * count -- to be spawned by others

  local function again()
    for _ = 1, turns do
      loop.sleep(seconds)
      meter.count()
    end
  end

  local function once()
    loop.sleep(seconds)
    meter.count()
    if left == 0 then return end
    left = left - 1
    loop.spawn(once)
  end

  for _ = 1, count do loop.spawn(arg[5] == "new" and once or again) end
  loop.run()
  meter.print()
end
