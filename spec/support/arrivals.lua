-- What has arrived in a topic, read back by an admin, beside what was sent:
-- values are "KEY:NUMBER", numbers of a key from 1 on, in the order in which
-- they were sent, and then perhaps " " and more.
local helper = require "spec.support.helper"
local strand = require "strand"

local arrivals = {}

local AT_ONCE = 10000 -- records of one read

local function add(found, value)
  local key, number = value:match "^(%w+):(%d+)"
  assert(key, "a value of somebody else: " .. value)
  number = tonumber(number)
  local id, last = key .. ":" .. number, found.last[key] or 0
  if found.seen[id] then
    found.doubled = found.doubled + 1
    return
  end
  found.seen[id] = true
  found.arrived = found.arrived + 1
  if number < last then found.inversions = found.inversions + 1 end
  found.last[key] = math.max(last, number)
end

local function each_record(topic, partition, given, visit)
  local admin = given
    or assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
  local offset, ended = 0
  repeat
    local list
    helper.eventually(30, function() -- the admin may have lost its connection
      list, ended = admin:read { topic = topic, partition = partition, offset = offset,
        records = AT_ONCE }
      return list
    end)
    for _, record in ipairs(list) do
      visit(record)
      offset = record.offset + 1
    end
  until ended == "end"
  if not given then admin:close() end
end

--- -> all records of a topic with one partition; by that admin, or one of its own
function arrivals.records(topic, admin)
  local list = {}
  each_record(topic, 0, admin, function(record) list[#list + 1] = record end)
  return list
end

--- -> { arrived = distinct ones, doubled, inversions, seen = { ["KEY:NUMBER"] = true } }
function arrivals.read(topic, partitions, admin)
  local found = { arrived = 0, doubled = 0, inversions = 0, seen = {}, last = {} }
  for partition = 0, partitions - 1 do
    each_record(topic, partition, admin, function(record) add(found, record.value) end)
  end
  return found
end

return arrivals
