-- consume.lua: one process that indexes events, on strand
--
--   consume.lua TOPIC SHARE WORK_MS JOURNAL MEMBERS WORKERS ORDERING MODE NAME=VALUE...
--
-- MODE is threads, or local: then as many handlers as WORKERS says run as
-- coroutines of the main thread.
--
-- It joins its group and handles nothing yet. Lines of its input tell it what
-- to do, and each is answered by a line:
--
--   where     waits until each of its members has SHARE partitions, and the
--             first records of them have come; says which: "has 0 5 7"
--   go N      begins, and says "done" when N records are done
--
-- It stays in the group until its input ends; then it closes, and its last
-- line is "closed".

local folder = arg[0]:match "^(.*/)" or "./"
package.path = folder .. "?.lua;" .. package.path

local strand = require "strand"

local topic, share, work_ms, journal = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4]
local members, workers, ordering, mode = tonumber(arg[5]), tonumber(arg[6]), arg[7], arg[8]
local STEP = 0.1 -- seconds between two looks

io.stdout:setvbuf "line"

local function properties()
  local kafka = {}
  for i = 9, #arg do
    local name, value = assert(arg[i]:match "^(.-)=(.*)$")
    kafka[name] = value
  end
  return kafka
end

local args = { journal = journal, work = work_ms / 1000 }
local options = { kafka = properties(), topics = { topic }, members = members,
  ordering = ordering }
if mode == "local" then
  options.workers, options.max_in_flight = 0, workers
  options.handler = require("index").in_coroutines(args)
else
  options.workers, options.handler, options.handler_args = workers, "index", args
end
local consumer = assert(strand.consumer(options))

-- -> partitions, when each member has its share of them and can read them.
-- A partition's end is known from the first fetch of it.
local function shared_out()
  local partitions, of = {}, {}
  for _, place in ipairs(consumer:assignment()) do
    if place.state ~= "running" or not place.end_offset then return nil end
    partitions[#partitions + 1] = place.partition
    of[place.member] = (of[place.member] or 0) + 1
  end
  for member = 0, members - 1 do
    if of[member] ~= share then return nil end
  end
  return partitions
end

local function wait_until(reached)
  while true do
    local value = reached()
    if value then return value end
    assert(consumer:step(STEP))
  end
end

local function go(count)
  assert(consumer:resume())
  wait_until(function() return consumer:stats().done >= count end)
end

assert(consumer:pause()) -- also what will be assigned
assert(consumer:start())
for line in io.lines() do
  if line == "where" then
    print("has " .. table.concat(wait_until(shared_out), " "))
  else
    go(tonumber(line:match "^go (%d+)$"))
    print "done"
  end
end
assert(consumer:close())
require("index").teardown()
print "closed"
