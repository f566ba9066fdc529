-- faults.lua: what becomes of records when something fails, for strand's producer in nginx and for
-- lua-resty-kafka in the same nginx
--
--   faults.lua all      all but the next; on a broker of its own, behind a proxy
--   faults.lua kafka4   on a Kafka 4 (KAFKA_VERSION)
--
-- Prints for each fault and peer "FAULT_PEER sent N told N arrived N untold N wrong N doubled N
-- inversions N": records that were given to the producer; those it refused, or reported to be lost,
-- or, when its worker ends, counted in error.log; those in the topic; those that are not there and
-- were not told of; those that were told to be lost and are there; copies beyond the first; first
-- copies behind a later one of their key.
--
-- lua-resty-kafka is in the folder that RESTY_KAFKA names. Run by bench/run.

local arrivals = require "spec.support.arrivals"
local core = require "strand.core"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local node = require "spec.support.node"
local strand = require "strand"

local PARTITIONS = 2
local PATIENCE = 120 -- seconds
local STUCK = 10 -- seconds without any change, after which nothing will come

local INIT = [[
  init_worker_by_lua_block {
    app = require "app"
    peer = require("peers").PEER("BROKERS", { keeps = KEEPS })
  }
]]
local SERVER = [[
  location = /publish { content_by_lua_block {
    app.publish(KEEPS and peer.keep or peer.send, ngx.var.arg_topic or "TOPIC",
      tonumber(ngx.var.arg_n), tonumber(ngx.var.arg_bytes))
  } }
  location = /paced { content_by_lua_block {
    app.publish_paced(peer.keep, "TOPIC", 5000, tonumber(ngx.var.arg_seconds))
  } }
  location = /share { content_by_lua_block { app.share(peer.send_wait, "TOPIC", 8, 250) } }
  location = /nil { content_by_lua_block { ngx.print(tostring((peer.send("NILS", "k")))) } }
  location = /left { content_by_lua_block { ngx.print(peer.left()) } }
  location = /books { content_by_lua_block { ngx.print(app.books(peer)) } }
]]

local behind, proxy, admin -- where the broker is for its clients

local function pause(seconds)
  local over = core.now() + seconds
  helper.eventually(2 * seconds + 10, function() return core.now() >= over end)
end

local function paced(server, seconds)
  return server:open("/paced?seconds=" .. seconds)
end

-- Until nothing is under way, or nothing moves any more.
local function settle(server)
  local last, since = nil, core.now()
  helper.eventually(PATIENCE, function()
    local left = tonumber(server:ask "/left")
    if left ~= last then last, since = left, core.now() end
    return left == 0 or core.now() - since > STUCK
  end)
end

local function publish(count, bytes)
  return function(server) server:ask(("/publish?n=%d&bytes=%d"):format(count, bytes or 0)) end
end

-- Each has 'run'(server, topic); 'ends': the worker is gone then, and its error.log tells; 'nils': a
-- record without a value is in a topic of its own, and run() -> 1 if it was refused, 0.
local FAULTS = {
  { name = "stop", ends = true, run = function(server)
    publish(50000)(server)
    server:stop(30)
  end },
  { name = "quit", ends = true, run = function(server)
    publish(50000)(server)
    server:quit()
  end },
  { name = "quit_away", ends = true, run = function(server)
    publish(10)(server)
    settle(server)
    proxy:tell "away"
    publish(40000)(server)
    server:quit()
    proxy:tell "back"
  end },
  { name = "away", run = function(server)
    local request = paced(server, 6)
    pause(1)
    for _, seconds in ipairs { 0.5, 2 } do
      proxy:tell "away"
      pause(seconds)
      proxy:tell "back"
      pause(1)
    end
    request:answer(PATIENCE)
  end },
  { name = "lost_acks", run = function(server)
    for _ = 1, 9 do
      proxy:tell "cut"
      publish(2000)(server)
      proxy:tell "await_cut"
    end
  end },
  { name = "late_acks", run = function(server)
    publish(200)(server)
    settle(server)
    proxy:tell "hold"
    publish(200)(server)
    pause(4)
    proxy:tell "release"
  end },
  { name = "large", run = publish(2000, 8000) },
  { name = "one_large", run = function(server)
    publish(50)(server)
    publish(1, 1500000)(server)
    publish(50)(server)
  end },
  { name = "nil_value", nils = true, run = function(server, topic)
    assert(admin:create_topics { [topic .. "-nils"] = 1 })
    publish(100)(server)
    settle(server)
    local refused = server:ask "/nil" ~= "true"
    publish(100)(server)
    return refused and 1 or 0
  end },
  { name = "shared", run = function(server) server:ask("/share", PATIENCE) end },
}

local KAFKA4 = { name = "kafka4", run = publish(200) }

-- What its worker wrote at its end.
local function told_by(errors)
  local sum = 0
  for _, pattern in ipairs { "(%d+) records were not delivered", "length: (%d+)" } do
    for count in errors:gmatch(pattern) do sum = sum + tonumber(count) end
  end
  return sum
end

local function judge_end(sent, errors, found)
  local told = told_by(errors)
  return { sent = sent, told = told, untold = math.max(0, sent - found.arrived - told),
    wrong = math.max(0, told + found.arrived - sent) }
end

local function judge(text, found)
  local told, sum = {}, { sent = 0, told = 0, untold = 0, wrong = 0 }
  for id in text:gmatch "told (%S+)" do
    sum.told = sum.told + (told[id] and 0 or 1)
    sum.wrong = sum.wrong + (found.seen[id] and not told[id] and 1 or 0)
    told[id] = true
  end
  for key, count in text:gmatch "sent (%S+) (%d+)" do
    sum.sent = sum.sent + count
    for number = 1, tonumber(count) do
      local id = key .. ":" .. number
      if not found.seen[id] and not told[id] then sum.untold = sum.untold + 1 end
    end
  end
  return sum
end

local SENT_AT_END = { stop = 50000, quit = 50000, quit_away = 40010 }

local function try(fault, peer)
  local topic = helper.topic_by(admin, fault.name, PARTITIONS)
  local server = nginx.start { http = INIT, server = SERVER, words = { PEER = peer,
    BROKERS = behind, TOPIC = topic, NILS = topic .. "-nils", KEEPS = tostring(not fault.ends) } }
  local refused = fault.run(server, topic)
  local sums, found
  if fault.ends then
    found = arrivals.read(topic, PARTITIONS, admin)
    sums = judge_end(SENT_AT_END[fault.name], server:errors(), found)
  else
    settle(server)
    local text = server:ask "/books"
    found = arrivals.read(topic, PARTITIONS, admin)
    sums = judge(text, found)
  end
  if fault.nils then -- it has no value that says which it is
    local there = #arrivals.records(topic .. "-nils", admin)
    sums.sent, found.arrived = sums.sent + 1, found.arrived + there
    sums.told, sums.untold = sums.told + refused, sums.untold + 1 - there - refused
  end
  nginx.close()
  print(("%s_%s sent %d told %d arrived %d untold %d wrong %d doubled %d inversions %d"):format(
    fault.name, peer, sums.sent, sums.told, found.arrived, sums.untold, sums.wrong, found.doubled,
    found.inversions))
  io.flush()
end

local close_node

local function main()
  proxy = require "spec.support.proxy".start()
  local address, _, close = node("advertised.listeners=PLAINTEXT://127.0.0.1:" .. proxy.port)
  close_node = close
  proxy:tell("to", address:match ":(%d+)")
  behind = "127.0.0.1:" .. proxy.port
  admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = behind }, log = function() end })
  local only = arg[2] -- a fault's name, to try it alone
  for _, fault in ipairs(arg[1] == "kafka4" and { KAFKA4 } or FAULTS) do
    if not only or only == fault.name then
      for _, peer in ipairs { "strand", "resty" } do try(fault, peer) end
    end
  end
  admin:close()
end

package.path = package.path .. (";bench/nginx/?.lua;%s/?.lua"):format(assert(os.getenv "RESTY_KAFKA"))
local ok, problem = xpcall(main, debug.traceback)
nginx.close()
if close_node then close_node() end
helper.end_children()
if not ok then error(problem, 0) end
