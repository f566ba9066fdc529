-- demo.lua: orders become invoices and charges, each exactly once
--
--   make payments                          on a Kafka of its own
--   make payments BROKER=host:port         on yours, on topics of its own
--   make payments DELIVERY=at_least_once   what the default would do (ORDERS=n too)
--
-- Thousands of orders are turned into an invoice and a charge each, by a
-- process that is killed three times in the middle of its work. At the end both
-- topics are compared with the orders: nobody may be charged twice, or not at
-- all. The exit status says whether it held; a run at least once holds when
-- nothing is missing.
--
-- Brokers that are not real prove nothing about transactions: so there is no
-- embedded cluster here.

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. folder .. "../?.lua;" .. package.path

local strand = require "strand"
local core = require "strand.core"
local audit = require "audit"
local orders = require "orders"
local progress = require "progress"

local PARTITIONS, KILLS = 3, 3
local PART = math.floor((tonumber(os.getenv "ORDERS") or 4000) / (KILLS + 1))
local ORDERS = PART * (KILLS + 1)
local LIMIT = 240          -- seconds, for all of it
local LOOK, LINE = 0.1, 1  -- seconds between looks at what is committed, and between lines

local servers = arg[1] or os.getenv "STRAND_BROKER"
local delivery = os.getenv "DELIVERY" or "exactly_once"
local begin = os.time()
local run = ("%d-%s"):format(begin, tostring({}):match "0x0*(%x+)")
local topics = { orders = "orders-" .. run, invoices = "invoices-" .. run,
  charges = "charges-" .. run }

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

-- ---- the process that works, and is killed ---------------------------------------

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- The number is the program's own, and not that of 'timeout', which is there
-- for the case that this process dies.
local function start()
  local words = { arg[-1], folder .. "charge.lua", servers, topics.orders, topics.invoices,
    topics.charges, delivery }
  for i, word in ipairs(words) do words[i] = quote(word) end
  local command = "echo $$; exec " .. table.concat(words, " ") .. " 2>&1"
  local pipe = assert(io.popen(("exec timeout --foreground -s KILL %d sh -c %s"):format(LIMIT,
    quote(command))))
  return { pipe = pipe, pid = pipe:read "*l" }
end

-- Ends it by a signal. -> whether it ended well, and what it said
local function finish(process, signal)
  os.execute(("kill -%s %s"):format(signal, process.pid))
  local text = process.pipe:read "*a"
  local ok = process.pipe:close()
  return ok == true, text
end

-- ---- the story -------------------------------------------------------------------

local function send_part(producer, list)
  list:more(PART, function(customer, text)
    assert(producer:send { topic = topics.orders, key = customer, value = text })
  end)
  assert(producer:flush())
end

-- -> how many orders are committed; nil where nobody can say
local function count_committed(admin)
  local sum = 0
  local places = admin:group_offsets(topics.orders .. "-charge", { topics.orders })
  for _, place in ipairs(places or {}) do sum = sum + math.max(place.offset or 0, 0) end
  return places and sum
end

-- Sends the orders in parts, and kills the process in the middle of each but
-- the last. -> whether the last one ended well
local function work(admin, producer, list)
  local shown = progress.new(ORDERS, "orders")
  local process, kills, done, told = start(), 0, 0, 0
  send_part(producer, list)
  while done < ORDERS and os.time() - begin < LIMIT do
    core.wait({}, LOOK)
    done = count_committed(admin) or done
    if shown.moves or core.now() > told + LINE then
      shown:update(done, ("%d kills"):format(kills))
      told = core.now()
    end
    if kills < KILLS and done > #list - PART * 3 / 4 then
      finish(process, "KILL")
      process, kills = start(), kills + 1
      shown:say("  killed; the next process goes on")
      send_part(producer, list)
    end
  end
  shown:finish()
  local well, text = finish(process, "TERM")
  if not well then say("%s", text) end
  return well
end

local function show(name, result)
  say("%-10s %9d %9d %9d %13d %14.2f", name, result.missing, result.repeated, result.wrong,
    result.out_of_order, result.cents / 100)
end

local function judge(admin, list)
  local results = { charges = audit.read(admin, topics.charges, list),
    invoices = audit.read(admin, topics.invoices, list) }
  local owed = audit.owed(list)
  say ""
  say("%-10s %9s %9s %9s %13s %14s", "", "missing", "repeated", "wrong", "out of order", "euros")
  show("charges", results.charges)
  show("invoices", results.invoices)
  say("%-10s %58.2f", "owed", owed / 100)
  say ""
  local held = true
  for _, result in pairs(results) do
    local once = delivery ~= "exactly_once" or result.repeated == 0 and result.cents == owed
    held = held and once and result.missing + result.wrong + result.out_of_order == 0
  end
  return held
end

local function demo(admin)
  assert(admin:create_topics { [topics.orders] = PARTITIONS, [topics.invoices] = PARTITIONS,
    [topics.charges] = PARTITIONS })
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = servers } })
  say("%d orders, %s, and %d kills", ORDERS, (delivery:gsub("_", " ")), KILLS)
  local list = orders.new()
  local well = work(admin, producer, list)
  assert(producer:close().delivered == #list)
  return judge(admin, list) and well and #list == ORDERS
end

if not servers then
  say "demo.lua needs a broker: host:port, or STRAND_BROKER. 'make payments' starts one."
  os.exit(2, true)
end
math.randomseed(begin)
local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = servers } })
local ok, held = xpcall(demo, debug.traceback, admin)
if not ok then say("%s", held) end
admin:delete_topics { topics.orders, topics.invoices, topics.charges }
admin:close()
say(ok and held and "It held." or "It did not hold.")
os.exit(ok and held, true)
