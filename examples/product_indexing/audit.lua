-- audit.lua: what the handlers of all processes did, from their journals
--
-- A line of a journal is "product partition offset start stop". All times are
-- of one monotonic clock.

local audit = {}

local LINE = "^(%S+) (%d+) (%d+) ([%d.]+) ([%d.]+)$"

local function each_line(files, visit)
  for _, name in ipairs(files) do
    for line in io.lines(name) do
      local product, partition, offset, start, stop = line:match(LINE)
      assert(stop, name .. " has a broken line")
      visit(product, tonumber(partition), tonumber(offset), tonumber(start), tonumber(stop))
    end
  end
end

-- The most handlers that ran at once. moments: { time, +1 or -1 }
local function highest(moments)
  table.sort(moments, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2] -- one ends before the next begins
  end)
  local running, most = 0, 0
  for _, moment in ipairs(moments) do
    running = running + moment[2]
    most = math.max(most, running)
  end
  return most
end

-- How many began before the one before them, of the same product or of the
-- same partition, had ended. handled: { [offset] = { product, start, stop } }
local function count_early(handled, count, by)
  local stopped, early = {}, 0
  for offset = 0, count - 1 do
    local it = handled[offset]
    if it then
      local what = by == "partition" or it.product
      if it.start < (stopped[what] or 0) then early = early + 1 end
      stopped[what] = math.max(it.stop, stopped[what] or 0)
    end
  end
  return early
end

-- ends: { [partition] = number of events }; by: "partition" or "product".
-- -> handled, missing, repeated, early (see above), most (at once), last (time)
function audit.read(files, ends, by)
  local result = { handled = 0, missing = 0, repeated = 0, early = 0, last = 0 }
  local partitions, moments = {}, {}
  for partition in pairs(ends) do partitions[partition] = {} end
  each_line(files, function(product, partition, offset, start, stop)
    local handled = partitions[partition]
    result.handled = result.handled + 1
    result.last = math.max(result.last, stop)
    if handled[offset] then result.repeated = result.repeated + 1 end
    handled[offset] = handled[offset] or { product = product, start = start, stop = stop }
    moments[#moments + 1] = { start, 1 }
    moments[#moments + 1] = { stop, -1 }
  end)
  for partition, count in pairs(ends) do
    local handled = partitions[partition]
    for offset = 0, count - 1 do
      if not handled[offset] then result.missing = result.missing + 1 end
    end
    result.early = result.early + count_early(handled, count, by)
  end
  result.most = highest(moments)
  return result
end

return audit
