-- admin_cluster.lua: what strand.admin tells of brokers, topics, settings and groups
--
-- 'put(method, ...)' asks strand.core, with what is left of the call's time
-- (admin.lua). Answers are lists there, and what is handiest here.

local core = require "strand.core"

local admin_cluster = {}

local function by(field)
  return function(a, b) return a[field] < b[field] end
end

-- The first of a list that failed: -> message, code, how many failed
local function first_failure(list, name_of)
  local first, count = nil, 0
  for _, entry in ipairs(list) do
    if entry.code then
      first, count = first or entry, count + 1
    end
  end
  if not first then return nil end
  local message = ("%s: %s"):format(name_of(first), first.message)
  if count > 1 then message = ("%s (and %d more of %d)"):format(message, count - 1, #list) end
  return message, first.code
end
admin_cluster.first_failure = first_failure

-- -> result, or nil, message, code, result where an entry of the list failed
function admin_cluster.sum_up(result, list, name_of)
  local message, code = first_failure(list, name_of)
  if message then return nil, message, code, result end
  return result
end

-- Topics --------------------------------------------------------------------

local function topic_name(entry) return ("topic '%s'"):format(entry.topic) end

-- -> { [setting] = { value, source, default, read_only, sensitive } }
local function settings_of(resource)
  local config = {}
  for _, setting in ipairs(resource.settings) do
    local name = setting.name
    setting.name = nil
    config[name] = setting
  end
  return config
end

-- Adds to each of 'entries', which are found by name, its settings. -> true | nil, message, code
local function add_configs(put, kind, names, entries)
  if #names == 0 then return true end
  local list, message, code = put("configs", kind, names)
  if not list then return nil, message, code end
  for _, resource in ipairs(list) do
    local entry = entries[resource.name]
    entry.config = not resource.code and settings_of(resource) or nil
    entry.message, entry.code = resource.message or entry.message, resource.code or entry.code
  end
  return true
end

local function topic_configs(put, known)
  local names = {}
  for name, topic in pairs(known.topics) do
    if not topic.code then names[#names + 1] = name end
  end
  table.sort(names)
  return add_configs(put, "topic", names, known.topics)
end

local function broker_configs(put, known, ids)
  local names, entries = {}, {}
  for _, broker in ipairs(known.brokers) do entries[("%d"):format(broker.id)] = broker end
  for i, id in ipairs(ids) do
    names[i] = ("%d"):format(id)
    if not entries[names[i]] then
      return nil, ("broker %s: the cluster has none of this number"):format(names[i]),
        "UNKNOWN_BROKER"
    end
  end
  return add_configs(put, "broker", names, entries)
end

-- -> { cluster_id, controller, brokers, topics = { [name] = { topic, partitions } } }, list of
-- topics | nil, message, code
function admin_cluster.look(put, topics)
  local known, message, code = put("describe", topics)
  if not known then return nil, message, code end
  local list = known.topics
  table.sort(list, by "topic")
  table.sort(known.brokers, by "id")
  known.topics = {}
  for _, topic in ipairs(list) do
    table.sort(topic.partitions, by "partition")
    known.topics[topic.topic] = topic
  end
  return known, list
end

-- A topic that was named and is not there is a failure; what is wrong with
-- one partition is a part of the description.
function admin_cluster.describe(put, what)
  local known, list, code = admin_cluster.look(put, what.topics)
  if not known then return nil, list, code end
  local ok, message = true, nil
  if what.configs then ok, message, code = topic_configs(put, known) end
  if ok and what.brokers then ok, message, code = broker_configs(put, known, what.brokers) end
  if not ok then return nil, message, code end
  return admin_cluster.sum_up(known, list, topic_name)
end

-- Groups --------------------------------------------------------------------

local function group_name(entry)
  return entry.group and ("group '%s'"):format(entry.group) or "a broker does not say its groups"
end

local function before(a, b) return (a.group or "") < (b.group or "") end

-- A broker that is asked in the classic protocol calls a group of another one
-- dead, with members or without; but it lists it. -> true | nil, message, code
local function tell_other_protocols(put, list)
  local dead = {}
  for _, group in ipairs(list) do
    if group.state == "Dead" and not group.code then dead[group.group] = group end
  end
  if next(dead) == nil then return true end
  local listed, message, code = put("list_groups")
  if not listed then return nil, message, code end
  for _, entry in ipairs(listed) do
    local group = entry.group and dead[entry.group]
    if group and entry.state ~= "Dead" then
      group.state, group.members = entry.state, nil
      group.message, group.code = ("librdkafka %s cannot tell the members of a group with its "
        .. "protocol (KIP-848)"):format(core.librdkafka_version), "UNSUPPORTED_FEATURE"
    end
  end
  return true
end

function admin_cluster.groups(put, names)
  local list, ok, message, code
  if names then list, message, code = put("describe_groups", names)
  else list, message, code = put("list_groups") end
  if not list then return nil, message, code end
  if names then
    ok, message, code = tell_other_protocols(put, list)
    if not ok then return nil, message, code end
  end
  table.sort(list, before)
  for _, group in ipairs(list) do
    table.sort(group.members or {}, by "id")
  end
  return admin_cluster.sum_up(list, list, group_name)
end

return admin_cluster
