-- demo.lua: orders by HTTP, through Kafka, into Redis, all within one nginx
--
--   make openresty                     on a Kafka and a Redis of its own
--   make openresty BROKER=host:port    on your Kafka, on a topic of its own (ORDERS=n too)
--
-- Customers post their orders in parallel, each one after another, and post again what was not
-- accepted. In the middle nginx is reloaded. At the end Redis is compared with what was accepted:
-- every order applied, once, those of a customer in their order. The exit status says whether it
-- held.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. folder .. "../?.lua;" .. package.path

local strand = require "strand"
local audit = require "audit"
local http = require "http"
local progress = require "progress"
local server = require "server"
local socket = require "socket"

local CUSTOMERS, PARTITIONS = 40, 4
local EACH = math.ceil((tonumber(os.getenv "ORDERS") or 2000) / CUSTOMERS)
local ORDERS = EACH * CUSTOMERS
local TRIES = 20   -- of one order
local LIMIT = 240  -- seconds, for all of it

local broker, redis = os.getenv "STRAND_BROKER", tonumber(os.getenv "STRAND_REDIS")
local begin = os.time()
local topic = ("orders-%d-%s"):format(begin, tostring({}):match "0x0*(%x+)")

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

local function read(name)
  local file = assert(io.open(name))
  local text = file:read "*a"
  file:close()
  return text
end

local function start_server()
  local function absolute(path)
    return (path:gsub("[^;]+", function(part)
      return part:sub(1, 1) == "/" and part or os.getenv "PWD" .. "/" .. part
    end))
  end
  return server.start(read(folder .. "nginx.conf"),
    ("STRAND_BROKER='%s' STRAND_REDIS=%d STRAND_TOPIC='%s' LUA_PATH='%s' LUA_CPATH='%s'"):format(
      broker, redis, topic, absolute(package.path), absolute(package.cpath)))
end

-- Posts it until it is accepted. -> how often it was not
local function post(port, customer, number, cents)
  local text = ('{"customer":"%s","number":%d,"cents":%d}'):format(customer, number, cents)
  local status, problem
  for try = 1, TRIES do
    status, problem = http.post(port, "/orders", text)
    if status == 201 then return try - 1 end
  end
  error(("%s: %s %s"):format(text, tostring(status), problem), 0)
end

-- -> { [customer] = { cents, ... } }, how many posts were not accepted
local function post_all(port, halfway, shown)
  local accepted, count, again, bodies, told = {}, 0, 0, {}, os.time()
  local function note(customer, cents, refused)
    table.insert(accepted[customer], cents)
    count, again = count + 1, again + refused
    if count == math.floor(ORDERS / 2) then halfway() end
    if os.time() > told then
      shown:update(count)
      told = os.time()
    end
  end
  for i = 1, CUSTOMERS do
    local customer = ("customer-%02d"):format(i)
    accepted[customer] = {}
    bodies[i] = function()
      for number = 1, EACH do
        local cents = math.random(100, 100000)
        note(customer, cents, post(port, customer, number, cents))
      end
    end
  end
  http.run(bodies)
  shown:update(count)
  return accepted, again
end

-- Until Redis has as many, or the time is over. -> applied, repeated
local function await_applied()
  local applied, repeated
  repeat
    applied, repeated = audit.count(redis)
    if applied >= ORDERS then break end
    socket.sleep(0.1)
  until os.time() - begin > LIMIT
  return applied, repeated
end

local function play(site)
  local shown = progress.new(ORDERS, "orders")
  local old = site:workers()
  local accepted, again = post_all(site.port, function()
    shown:say "  nginx is reloaded; new workers go on"
    site:signal "HUP"
  end, shown)
  shown:finish()
  local applied, repeated = await_applied()
  site:await_gone(old)
  local _, health = http.get(site.port, "/health")
  say("health    %s", (health or "no answer"):match "[^\n]*")
  local page = http.get(site.port, "/")
  local result = audit.compare(redis, accepted)
  say ""
  say("accepted     %6d    by HTTP, after the broker's acknowledgement; %d posted again", ORDERS, again)
  say("applied      %6d    in Redis; %d came again and changed nothing", applied, repeated)
  say("missing      %6d", result.missing)
  say("twice        %6d", result.twice)
  say("out of order %6d", result.out_of_order)
  say("wrong sums   %6d    of %d customers", result.wrong, CUSTOMERS)
  say ""
  local wrong = result.missing + result.twice + result.out_of_order + result.wrong
  return applied == ORDERS and wrong == 0 and page == 200
end

local function demo()
  say("%d orders of %d customers, and a reload", ORDERS, CUSTOMERS)
  local site = start_server()
  local ok, held = xpcall(play, debug.traceback, site)
  local errors = site:errors()
  if errors ~= "" then say("error.log:\n%s", errors) end
  site:quit()
  if not ok then error(held, 0) end
  return held
end

if not (broker and redis) then
  say "demo.lua needs STRAND_BROKER and STRAND_REDIS. 'make openresty' starts both."
  os.exit(2, true)
end
math.randomseed(begin)
local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = broker } })
assert(admin:create_topics { [topic] = PARTITIONS })
local ok, held = xpcall(demo, debug.traceback)
if not ok then say("%s", held) end
admin:delete_topics { topic }
admin:close()
say(ok and held and "It held." or "It did not hold.")
os.exit(ok and held, true)
