-- audit.lua: what the handlers really did
--
-- Reads the workers' journals, puts the attempts of each order in the
-- sequence in which they ran, and compares that with what was sent:
--
--   1 done   2 failed   2 done   3 done        as it should be
--   1 done   3 done     2 done                 out of sequence
--   1 done   2 failed   3 done                 2 is lost
--
-- Times are of one monotonic clock, so attempts of different threads can be
-- compared: one that starts before the one before it has ended is out of
-- sequence too.

local audit = {}

local LINE = "^(%S+) (%d+) (%d+) (%a+) ([%d.]+) ([%d.]+)$"

-- -> { [order_id] = { { number, done, start, stop }, ... } }
local function read_journals(journal, workers)
  local orders = {}
  for worker = 1, workers do
    local file = io.open(("%s-%d"):format(journal, worker))
    for line in file and file:lines() or function() end do
      local id, number, _, result, start, stop = assert(line:match(LINE))
      orders[id] = orders[id] or {}
      table.insert(orders[id], { number = tonumber(number), done = result == "done",
        start = tonumber(start), stop = tonumber(stop) })
    end
    if file then file:close() end
  end
  return orders
end

local function add_times(result, attempt)
  result.handler_seconds = result.handler_seconds + attempt.stop - attempt.start
  result.first = math.min(result.first, attempt.start)
  result.last = math.max(result.last, attempt.stop)
end

-- One order: 'count' events were sent.
local function check_order(result, attempts, count)
  table.sort(attempts, function(a, b) return a.start < b.start end)
  local due, stopped, done = 1, 0, {}
  for _, attempt in ipairs(attempts) do
    if attempt.number > due or attempt.start < stopped then
      result.out_of_sequence = result.out_of_sequence + 1
    elseif attempt.number < due then
      result.repeated = result.repeated + 1
    end
    if attempt.done then
      done[attempt.number] = true
      while done[due] do due = due + 1 end
    else
      result.retries = result.retries + 1
    end
    stopped = attempt.stop
    add_times(result, attempt)
  end
  for number = 1, count do
    if not done[number] then result.lost = result.lost + 1 end
  end
end

-- 'sent' is what orders.each_event returned.
function audit.read(journal, workers, sent)
  local result = { retries = 0, out_of_sequence = 0, lost = 0, repeated = 0,
    handler_seconds = 0, first = math.huge, last = -math.huge }
  local orders = read_journals(journal, workers)
  for id, count in pairs(sent) do check_order(result, orders[id] or {}, count) end
  result.seconds = math.max(0, result.last - result.first)
  return result
end

function audit.remove(journal, workers)
  os.remove(journal)
  for worker = 1, workers do os.remove(("%s-%d"):format(journal, worker)) end
end

return audit
