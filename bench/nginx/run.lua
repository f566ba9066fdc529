-- run.lua: cells in a real nginx; each measurement is a line "PEER NAME VALUE NAME VALUE..."
--
--   run.lua http BROKER TOPIC QUIET_TOPIC PAIRS
--                 "with_I", "without_I": HTTP with and without a consumer of 20,000 records/s in the
--                 same worker. Records come in both turns, to the topic or to one that nobody reads.
--   run.lua sleep BROKER TOPIC RECORDS           "consumer", "once", "again": 5,000 sleep 100 ms
--   run.lua redis BROKER TOPIC RECORDS           "redis_5000", "redis_100": a Redis call each, to
--                                                the port STRAND_REDIS
--   run.lua send BROKER TOPIC RECORDS ROUND      "strand", "reports", "resty": TOPIC-PEER each
--
-- lua-resty-kafka is in the folder that RESTY_KAFKA names. Run by bench/run.

local core = require "strand.core"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"

local what, broker, topic = arg[1], arg[2], arg[3]
local PATIENCE = 300 -- seconds for a measurement

local DIRECTIVES = [[
  lua_max_running_timers 512;
  lua_max_pending_timers 2048;
  lua_socket_pool_size POOL;
  init_worker_by_lua_block {
    app = require "app"
    BEGIN
  }
]]
local LOCATIONS = [[
  location = /page { content_by_lua_block { ngx.print "hello" } }
  location = /done { content_by_lua_block { ngx.print(app.done()) } }
  location = /measured { content_by_lua_block { ngx.print(app.measured()) } }
]]

local function values_of(text)
  local values = {}
  for name, value in text:gmatch "([%l%d_]+) (%S+)\n?" do values[name] = tonumber(value) end
  return values
end

local function tell(peer, text)
  print(peer .. " " .. text:gsub("\n", " "))
  io.flush()
end

-- 'words': BEGIN, what the worker does when it starts.
local function start(words, more, connections)
  words.POOL = words.POOL or "30"
  return nginx.start { connections = connections or 16384, main = "worker_rlimit_nofile 17000;",
    http = DIRECTIVES, server = LOCATIONS .. (more or ""), words = words }
end

-- Warnings of a busy machine are no failure.
local function finish(server)
  server:quit()
  for line in server:errors():gmatch "[^\n]+" do
    if not line:find("warn", 1, true) then error("nginx: " .. server:errors(), 0) end
  end
end

local function done(server) return values_of(server:ask "/done") end

-- HTTP beside a consumer -----------------------------------------------------------------

local RATE = 20000 -- records/s
local SECONDS = 6 -- of HTTP
local LEAST = 0.8 -- of the records that a turn should have had
local REQUESTS = 1000 -- of a turn, at least: it asks for 6,000

local function pace(place, seconds)
  return assert(io.popen(("build/bench/pace %s %s %d %d 5 2>&1"):format(broker, place,
    RATE * seconds, RATE)))
end

local function ask(server)
  local pipe = assert(io.popen(("wrk -t1 -c10 -d%ds --timeout 10s -s bench/nginx/wrk.lua "
    .. "http://127.0.0.1:%d/page"):format(SECONDS, server.port)))
  local text = pipe:read "*a"
  pipe:close()
  local numbers = text:match "requests %d+.*"
  if not numbers then error("wrk: " .. text, 0) end
  return values_of(numbers), numbers
end

-- 'reader': the server that has the consumer; 'asked': the one that is measured.
local function turn(peer, place, reader, asked)
  local before = done(reader).done
  local seconds = SECONDS + 3
  local records = pace(place, seconds)
  if asked == reader then
    helper.eventually(30, function() return done(reader).done > before + RATE / 10 end)
  else
    helper.eventually(30, (function(at) return function() return core.now() > at end end)(
      core.now() + 0.5))
  end
  local first = done(reader).done
  local values, text = ask(asked)
  local read = done(reader).done - first
  local problem = records:read "*a"
  if not records:close() or problem ~= "" then error("pace: " .. problem, 0) end
  if values.failed > 0 or values.requests < REQUESTS then
    error(("HTTP: %d requests, %d failed"):format(values.requests, values.failed), 0)
  end
  if asked == reader then
    if read < RATE * SECONDS * LEAST then
      error(("HTTP: only %d records were read meanwhile"):format(read), 0)
    end
    helper.eventually(60, function() return done(reader).done == before + RATE * seconds end)
  elseif read > 0 then
    error("HTTP: records were read in a turn without", 0)
  end
  tell(peer, ("%sread %d"):format(text, read))
end

local actions = {}

function actions.http()
  local quiet, pairs_of = arg[4], tonumber(arg[5])
  local reader = start { BEGIN = ("app.consume('%s', '%s', 1000, nil, app.sleep_10)"):format(broker,
    topic) }
  local bare = start { BEGIN = "" }
  for pair = 1, pairs_of do
    local turns = {
      function() turn("with_" .. pair, topic, reader, reader) end,
      function() turn("without_" .. pair, quiet, reader, bare) end,
    }
    turns[pair % 2 + 1]()
    turns[2 - pair % 2]()
  end
  bare:quit()
  finish(reader)
end

-- Many in flight ---------------------------------------------------------------------------

local MANY = 5000
local IDEAL = 50000 -- records/s, of MANY at 100 ms

local function measure(peer, words, least)
  local server = start(words)
  server:await("all records", function() return done(server).over == 1 end, PATIENCE)
  local text = server:ask "/measured"
  if least and values_of(text).most < least then
    error(("%s: only %d were in flight"):format(peer, values_of(text).most), 0)
  end
  tell(peer, text)
  finish(server)
end

function actions.sleep()
  local records = tonumber(arg[4])
  for _, how in ipairs { "once", "again" } do
    measure(how, { BEGIN = ("app.bare('%s', %d, 0.1, %d)"):format(how, MANY, records) })
  end
  measure("consumer", { BEGIN = ("app.consume('%s', '%s', %d, %d, app.sleep_100)"):format(broker,
    topic, MANY, records) }, MANY)
end

-- As many records come each second with few as with many.
function actions.redis()
  local records, port = tonumber(arg[4]), assert(os.getenv "STRAND_REDIS")
  for _, count in ipairs { MANY, 100 } do
    measure("redis_" .. count, { POOL = tostring(count),
      BEGIN = ("app.consume('%s', '%s', %d, %d, app.redis(%s, %d, %g))"):format(broker, topic,
        count, records, port, count, count / IDEAL) }, count)
  end
end

-- Sending ----------------------------------------------------------------------------------

-- Turns in each round begin with another one.
function actions.send()
  local records, round = tonumber(arg[4]), tonumber(arg[5])
  local server = start({ BEGIN = ([[
    local peers = require "peers"
    strand, resty = peers.strand("%s", {}), peers.resty("%s", {})
    reports = app.with_reports("%s")
  ]]):format(broker, broker, broker) }, [[
    location = /send { content_by_lua_block {
      ngx.print(app.send(_G[ngx.var.arg_peer], ngx.var.arg_topic, tonumber(ngx.var.arg_records)))
    } }
  ]])
  local order = { "strand", "resty", "reports" }
  for i = 1, #order do
    local peer = order[(i + round) % #order + 1]
    tell(peer, server:ask(("/send?peer=%s&topic=%s-%s&records=%d"):format(peer, topic, peer, records),
      PATIENCE))
  end
  finish(server)
end

local resty = os.getenv "RESTY_KAFKA"
if resty then package.path = package.path .. (";%s/?.lua"):format(resty) end
package.path = package.path .. ";bench/nginx/?.lua"
local ok, problem = xpcall(actions[what], debug.traceback)
nginx.close()
if not ok then error(problem, 0) end
