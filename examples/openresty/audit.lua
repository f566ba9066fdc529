-- audit.lua: what Redis has, against what was accepted by HTTP

local audit = {}

-- By Redis's own client: a line for each item.
local function ask(port, ...)
  local pipe = assert(io.popen(("redis-cli --raw -p %d %s"):format(port, table.concat({ ... }, " "))))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

--- How many orders are applied, and how many came again.
function audit.count(port)
  local lines = ask(port, "MGET", "applied", "repeated")
  return tonumber(lines[1]) or 0, tonumber(lines[2]) or 0
end

local function check(result, numbers, orders)
  local seen, last = {}, 0
  for _, number in ipairs(numbers) do
    if number < last then result.out_of_order = result.out_of_order + 1 end
    if seen[number] then result.twice = result.twice + 1 end
    seen[number], last = true, number
  end
  for number in ipairs(orders) do
    if not seen[number] then result.missing = result.missing + 1 end
  end
end

--- 'accepted' is { [customer] = { cents of the first order, of the second, ... } }.
function audit.compare(port, accepted)
  local result = { missing = 0, twice = 0, out_of_order = 0, wrong = 0 }
  for customer, orders in pairs(accepted) do
    local numbers, owed = ask(port, "LRANGE", customer .. ":orders", 0, -1), 0
    for i, number in ipairs(numbers) do numbers[i] = tonumber(number) end
    check(result, numbers, orders)
    for _, cents in ipairs(orders) do owed = owed + cents end
    if tonumber(ask(port, "HGET", customer, "cents")[1]) ~= owed then result.wrong = result.wrong + 1 end
  end
  return result
end

return audit
