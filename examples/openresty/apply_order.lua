-- apply_order.lua: one order is applied to Redis, once
--
-- A handler in nginx's event loop: it waits for Redis by nginx's sockets, and others go on.
-- At least once means that an order may come again, after a crash. Orders of a customer are
-- numbered, and come in order; so one whose number is not above the last was applied before.

local strand = require "strand"

local has_name, redis = pcall(require, "resty.redis") -- OpenResty's
if not has_name then redis = require "nginx.redis" end -- Debian's

local json = require "cjson.safe"

local HOST, PORT = "127.0.0.1", tonumber(os.getenv "STRAND_REDIS" or 6379)
local TIMEOUT = 2000 -- milliseconds
local IDLE, POOL = 60000, 100 -- milliseconds, connections of a worker
local AGAIN = 0.5 -- seconds

-- In Redis all of it happens, or nothing.
local SCRIPT = [[
  local customer, number, cents = KEYS[1], tonumber(ARGV[1]), ARGV[2]
  if number <= tonumber(redis.call("HGET", customer, "last") or "0") then
    return redis.call("INCR", "repeated")
  end
  redis.call("HSET", customer, "last", number)
  redis.call("HINCRBY", customer, "cents", cents)
  redis.call("RPUSH", customer .. ":orders", number)
  return redis.call("INCR", "applied")
]]

local function run(order)
  local connection = redis:new()
  connection:set_timeout(TIMEOUT)
  local ok, problem = connection:connect(HOST, PORT)
  if not ok then return nil, problem end
  ok, problem = connection:eval(SCRIPT, 1, order.customer, order.number, order.cents)
  if ok == nil then
    connection:close()
    return nil, problem
  end
  connection:set_keepalive(IDLE, POOL)
  return ok, problem -- false: the script's own error
end

return function(record)
  local order = json.decode(record.value)
  if not order then return strand.skip "no order" end
  local done, problem = run(order)
  if done then return end
  if done == false then error(problem, 0) end
  return strand.retry(AGAIN, "Redis: " .. tostring(problem)) -- as long as it takes
end
