-- admin_offsets.lua: what strand.admin makes of several questions about offsets
--
-- 'put(method, ...)' asks strand.core, with what is left of the call's time
-- (admin.lua). Nothing is written before all that can be known is known.

local core = require "strand.core"
local admin_cluster = require "strand.admin_cluster"

local admin_offsets = {}

local LATEST, EARLIEST = -1, -2 -- of find_offsets

local function place_name(entry)
  return ("topic '%s', partition %d"):format(entry.topic, entry.partition)
end

local function key_of(entry) return ("%s/%d"):format(entry.topic, entry.partition) end

local function by_place(a, b)
  if a.topic ~= b.topic then return a.topic < b.topic end
  return a.partition < b.partition
end

local function by_key(list)
  local found = {}
  for _, entry in ipairs(list) do found[key_of(entry)] = entry end
  return found
end

local function is_mock(known) return tostring(known.cluster_id):find "^mockCluster" ~= nil end

-- Which partitions ----------------------------------------------------------

-- All partitions of the topics, or the one. -> { { topic, partition }, ... }, whether it is a mock
-- cluster | nil, message, code
local function partitions_of(put, topics, partition)
  local known, list, code = admin_cluster.look(put, topics)
  if not known then return nil, list, code end
  local message
  message, code = admin_cluster.first_failure(list, function(topic)
    return ("topic '%s'"):format(topic.topic)
  end)
  if message then return nil, message, code end
  local places = {}
  for _, topic in ipairs(list) do
    for _, one in ipairs(topic.partitions) do
      if partition == nil or one.partition == partition then
        places[#places + 1] = { topic = topic.topic, partition = one.partition }
      end
    end
  end
  if #places == 0 then
    return nil, ("topic '%s' has no partition %d"):format(topics[1], partition or 0),
      "UNKNOWN_PARTITION"
  end
  return places, is_mock(known)
end

-- -> true | nil, message, code
local function refuse_mock(put, name)
  local known, message, code = admin_cluster.look(put, {})
  if not known then return nil, message, code end
  if not is_mock(known) then return true end
  return nil, ("%s: the mock cluster cannot say who is in a group; take another group")
    :format(name), "UNSUPPORTED_FEATURE"
end

-- Offsets -------------------------------------------------------------------

-- -> { [key] = { topic, partition, offset | message, code } }, list | nil, message, code
local function find(put, places, at)
  local asked = {}
  for i, place in ipairs(places) do
    asked[i] = { topic = place.topic, partition = place.partition, at = at }
  end
  local list, message, code = put("find_offsets", asked)
  if not list then return nil, message, code end
  table.sort(list, by_place)
  return by_key(list), list
end

-- What no record is as new as gets the log's end, and says so.
local function fill_ends(put, list)
  local late = {}
  for _, entry in ipairs(list) do
    if not entry.offset and not entry.code then late[#late + 1] = entry end
  end
  if #late == 0 then return true end
  local ends, message, code = find(put, late, LATEST)
  if not ends then return nil, message, code end
  for _, entry in ipairs(late) do
    local known = ends[key_of(entry)]
    entry.offset, entry.at_end = known.offset, true
    entry.message, entry.code = known.message, known.code
  end
  return true
end

-- -> { { topic, partition, offset, at_end | nil } | { ..., message, code }, ... }
local function find_start(put, places, kind, value, mock)
  if kind == "time" and mock then
    return nil, "list_offsets: the mock cluster cannot look up offsets by time",
      "UNSUPPORTED_FEATURE"
  end
  local at = kind == "earliest" and EARLIEST or kind == "latest" and LATEST
    or math.floor(value * 1000 + 0.5)
  local found, list, code = find(put, places, at)
  if not found then return nil, list, code end
  local ok, message
  ok, message, code = fill_ends(put, list)
  if not ok then return nil, message, code end
  return list
end

function admin_offsets.list(put, where)
  local places, mock, code = partitions_of(put, where.topics, where.partition)
  if not places then return nil, mock, code end
  local list, message
  list, message, code = find_start(put, places, where.kind, where.value, mock)
  if not list then return nil, message, code end
  return admin_cluster.sum_up(list, list, place_name)
end

-- Where the logs begin and end: -> { [key] = start }, { [key] = end } | nil, message, code
local function find_bounds(put, places)
  local starts, message, code = find(put, places, EARLIEST)
  if not starts then return nil, message, code end
  local ends
  ends, message, code = find(put, places, LATEST)
  if not ends then return nil, message, code end
  return starts, ends
end

-- Lag -----------------------------------------------------------------------

-- Records at or above 'from' that the commit's metadata says are done.
local function done_above(commit, from)
  if not commit or (commit.metadata or "") == "" then return 0 end
  local told = core.metadata_decode(commit.offset, commit.metadata)
  if not told then return 0 end -- of another program: strand would read them again
  local done = math.max(0, told.highest - from + 1)
  for _, run in ipairs(told.incomplete) do
    done = done - math.max(0, run[2] - math.max(run[1], from) + 1)
  end
  return math.max(0, done)
end

local function lag_of(place, commit, start, finish)
  local entry = { topic = place.topic, partition = place.partition,
    committed = commit and commit.offset, start_offset = start.offset, end_offset = finish.offset,
    message = start.message or finish.message, code = start.code or finish.code }
  if entry.code then return entry end
  local from = math.max(commit and commit.offset or start.offset, start.offset)
  entry.lag = math.max(0, finish.offset - (entry.committed or start.offset))
  entry.true_lag = math.max(0, finish.offset - from - done_above(commit, from))
  return entry
end

-- Topics that a group has offsets of, or that its members have now. -> list | nil, message, code
local function topics_of_group(put, group, committed)
  local seen, list = {}, {}
  local function add(entry)
    if not seen[entry.topic] then list[#list + 1] = entry.topic end
    seen[entry.topic] = true
  end
  for _, entry in ipairs(committed) do add(entry) end
  local groups, message, code = put("describe_groups", { group })
  if not groups then return nil, message, code end
  for _, member in ipairs(groups[1] and groups[1].members or {}) do
    for _, entry in ipairs(member.assignment) do add(entry) end
  end
  if #list == 0 then
    return nil, ("lag: group '%s' has committed nothing and has no members; name the topics")
      :format(group), "GROUP_ID_NOT_FOUND"
  end
  return list
end

function admin_offsets.lag(put, topics, group)
  local committed, message, code = put("group_offsets", group, topics)
  if not committed then return nil, message, code end
  if not topics then topics, message, code = topics_of_group(put, group, committed) end
  if not topics then return nil, message, code end
  local places, problem
  places, problem, code = partitions_of(put, topics)
  if not places then return nil, problem, code end
  local starts, ends
  starts, ends, code = find_bounds(put, places)
  if not starts then return nil, ends, code end
  local commits = by_key(committed)
  local result = { group = group, total = 0, true_total = 0, partitions = {} }
  for i, place in ipairs(places) do
    local key = key_of(place)
    local entry = lag_of(place, commits[key], starts[key], ends[key])
    result.partitions[i] = entry
    result.total = result.total + (entry.lag or 0)
    result.true_total = result.true_total + (entry.true_lag or 0)
  end
  return admin_cluster.sum_up(result, result.partitions, place_name)
end

-- Reset ---------------------------------------------------------------------

local MOST_NAMED = 3

-- "client 'billing' at /10.0.0.7 and 2 more"
local function who(members)
  local names = {}
  for i = 1, math.min(#members, MOST_NAMED) do
    names[i] = ("client '%s' at %s"):format(members[i].client_id, members[i].host)
  end
  local text = table.concat(names, ", ")
  if #members > MOST_NAMED then text = ("%s and %d more"):format(text, #members - MOST_NAMED) end
  return text
end

local function non_empty(group, members)
  return nil, ("reset_offsets: group '%s' has members%s: end them first"):format(group,
    #members > 0 and " (" .. who(members) .. ")" or ""), "NON_EMPTY_GROUP"
end

-- -> true | nil, message, code
local function require_empty(put, group)
  local list, message, code = put("describe_groups", { group })
  if not list then return nil, message, code end
  local entry = list[1]
  if entry.code == "GROUP_ID_NOT_FOUND" then return true end -- nobody ever was in it
  if entry.code then
    return nil, ("reset_offsets: group '%s': %s"):format(group, entry.message), entry.code
  end
  if entry.state == "Empty" or entry.state == "Dead" then return true end
  return non_empty(group, entry.members)
end

local function out_of_range(what, place, offset, start, finish)
  return nil, ("%s: %s has no offset %d: its log begins at %d and ends at %d"):format(what,
    place_name(place), offset, start, finish), "OFFSET_OUT_OF_RANGE"
end

-- Offsets that were named must be in the logs; what begins above one is no matter to 'may_be_gone'.
-- -> their ends by key | nil, message, code
local function require_in_range(put, what, places, may_be_gone)
  local starts, ends, code = find_bounds(put, places)
  if not starts then return nil, ends, code end
  for _, place in ipairs(places) do
    local start, finish = starts[key_of(place)], ends[key_of(place)]
    local failed = start.code and start or finish.code and finish
    if failed then
      return nil, ("%s: %s: %s"):format(what, place_name(place), failed.message), failed.code
    end
    if place.offset > finish.offset or place.offset < start.offset and not may_be_gone then
      return out_of_range(what, place, place.offset, start.offset, finish.offset)
    end
  end
  return ends
end

local function topics_in(places)
  local seen, list = {}, {}
  for _, place in ipairs(places) do
    if not seen[place.topic] then list[#list + 1] = place.topic end
    seen[place.topic] = true
  end
  return list
end

-- Places that were named: their partitions must exist, and have the offsets.
-- -> true | nil, message, code
local function require_places(put, what, places, may_be_gone)
  local known, message, code = partitions_of(put, topics_in(places))
  if not known and message:find(what, 1, true) == 1 then return nil, message, code end
  if not known then return nil, ("%s: %s"):format(what, message), code end
  known = by_key(known)
  for _, place in ipairs(places) do
    if not known[key_of(place)] then
      return nil, ("%s: topic '%s' has no partition %d"):format(what, place.topic,
        place.partition), "UNKNOWN_PARTITION"
    end
  end
  return require_in_range(put, what, places, may_be_gone)
end

-- -> { { topic, partition, offset }, ... } | nil, message, code
local function targets(put, where)
  local ok, places, message, code
  if where.places then
    ok, message, code = require_places(put, "reset_offsets", where.places)
    return ok and where.places or nil, message, code
  end
  places, message, code = partitions_of(put, where.topics, where.partition)
  if not places then return nil, message, code end
  if where.kind == "offset" then
    for _, place in ipairs(places) do place.offset = where.value end
    ok, message, code = require_in_range(put, "reset_offsets", places)
    return ok and places or nil, message, code
  end
  places, message, code = find_start(put, places, where.kind, where.value, false)
  if not places then return nil, message, code end
  message, code = admin_cluster.first_failure(places, place_name)
  if message then return nil, "reset_offsets: " .. message, code end
  return places
end

local function with_at(places)
  local list = {}
  for i, place in ipairs(places) do
    list[i] = { topic = place.topic, partition = place.partition, at = place.offset }
  end
  return list
end

-- A member that joined meanwhile: the group's coordinator takes no offsets of strangers then.
local function name_refusals(list)
  for _, entry in ipairs(list) do
    if entry.code == "UNKNOWN_MEMBER_ID" or entry.code == "ILLEGAL_GENERATION" then
      entry.message, entry.code = "the group has members: end them first", "NON_EMPTY_GROUP"
    end
  end
end

function admin_offsets.reset(put, where, group)
  local ok, message, code = refuse_mock(put, "reset_offsets")
  if ok then ok, message, code = require_empty(put, group) end
  if not ok then return nil, message, code end
  local places
  places, message, code = targets(put, where)
  if not places then return nil, message, code end
  local committed
  committed, message, code = put("group_offsets", group, topics_in(places))
  if not committed then return nil, message, code end
  local list
  list, message, code = put("write_offsets", group, with_at(places))
  if not list then return nil, message, code end
  local earlier, target = by_key(committed), by_key(places)
  for _, entry in ipairs(list) do
    local known = earlier[key_of(entry)]
    entry.before = known and known.offset
    entry.at_end = target[key_of(entry)].at_end
  end
  table.sort(list, by_place)
  name_refusals(list)
  return admin_cluster.sum_up(list, list, place_name)
end

-- Deleted -------------------------------------------------------------------

function admin_offsets.delete_of_group(put, topics, group)
  local committed
  local ok, message, code = refuse_mock(put, "delete_group_offsets")
  if ok then committed, message, code = put("group_offsets", group, nil) end
  if not committed then return nil, message, code end
  local wanted, places = {}, {}
  for _, topic in ipairs(topics) do wanted[topic] = true end
  for _, entry in ipairs(committed) do
    if wanted[entry.topic] then places[#places + 1] = entry end
  end
  if #places == 0 then return {} end
  local list
  list, message, code = put("delete_offsets", group, with_at(places))
  if not list then return nil, message, code end
  local earlier = by_key(committed)
  for _, entry in ipairs(list) do
    entry.offset = nil
    entry.before = earlier[key_of(entry)].offset
  end
  table.sort(list, by_place)
  return admin_cluster.sum_up(list, list, place_name)
end

function admin_offsets.delete_records(put, places)
  local list
  local ok, message, code = require_places(put, "delete_records", places, true)
  if ok then list, message, code = put("delete_records", with_at(places)) end
  if not list then return nil, message, code end
  table.sort(list, by_place)
  return admin_cluster.sum_up(list, list, place_name)
end

-- Records -------------------------------------------------------------------

-- -> the offset to begin at, or nil, message, code
local function start_of(put, what, mock)
  local place = { topic = what.topic, partition = what.partition }
  if what.kind == "offset" then return what.value end
  local list, message, code = find_start(put, { place }, what.kind, what.value, mock)
  if not list then return nil, message, code end
  if list[1].code then
    return nil, ("read: %s: %s"):format(place_name(place), list[1].message), list[1].code
  end
  return list[1].offset
end

function admin_offsets.read(put, what)
  local places, mock, code = partitions_of(put, { what.topic }, what.partition)
  if not places then return nil, mock, code end
  local offset, message
  offset, message, code = start_of(put, what, mock)
  if not offset then return nil, message, code end
  places[1].offset = offset
  local ends
  ends, message, code = require_in_range(put, "read", places)
  if not ends then return nil, message, code end
  local finish = ends[key_of(places[1])].offset
  if offset >= finish then return {}, "end" end
  local answer
  answer, message, code = put("read", { topic = what.topic, partition = what.partition,
    offset = offset, ["end"] = finish, records = what.records, bytes = what.max_bytes })
  if not answer then return nil, message, code end
  return answer.records, answer.ended
end

return admin_offsets
