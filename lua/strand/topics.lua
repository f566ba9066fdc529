-- topics.lua: names and patterns of topics, and the routes to their handlers
--
-- A pattern is a POSIX regular expression that starts with ^, as librdkafka
-- has it. Matching is done in C; here is decided what can be decided without.

local schema = require "strand.schema"
local transfer = require "strand.transfer"

local topics = {}

local LONGEST_NAME = 249 -- Kafka's own limit

function topics.is_pattern(name)
  return name:sub(1, 1) == "^"
end

local function is_name(name)
  return name:find("^[%w._-]+$") ~= nil and #name <= LONGEST_NAME
    and name ~= "." and name ~= ".."
end

-- The name of a topic, no pattern.
function topics.check_name(name, label)
  if type(name) ~= "string" then schema.expected(label, "name of a topic", name) end
  if not is_name(name) then
    schema.fail(label, ("'%s' is no name of a topic (1 to %d of a-z A-Z 0-9 . _ -)")
      :format(schema.shown(name), LONGEST_NAME))
  end
  return name
end

function topics.name_kind(kind)
  kind.shape = "name of a topic"
  kind.check = function(_, name, label) return topics.check_name(name, label) end
  return kind
end

local LONGEST_PATTERN = 1024

local function check_name_or_pattern(name, label)
  if type(name) == "string" and topics.is_pattern(name) then
    if name:find("\0", 1, true) then schema.fail(label, "a zero byte inside") end
    if #name > LONGEST_PATTERN then
      schema.fail(label, ("a pattern of at most %d characters expected, got %d"):format(
        LONGEST_PATTERN, #name))
    end
    return name
  end
  return topics.check_name(name, label)
end

local function check_list(kind, given, label)
  local count = schema.check_list(given, label, kind.shape)
  if count == 0 and not kind.may_be_empty then
    schema.fail(label, kind.shape .. " expected, got an empty one")
  end
  local list, seen = {}, {}
  for i = 1, count do
    local place = schema.item(label, i)
    local name = kind.check_item(given[i], place)
    if seen[name] then
      schema.fail(place, ("'%s' stands there twice"):format(schema.shown(name)))
    end
    seen[name], list[i] = true, name
  end
  return list
end

-- Kinds: topics to subscribe to, and topics that are named one by one.
function topics.subscription(kind)
  kind.shape = "list of topic names and ^patterns"
  kind.check_item, kind.check = check_name_or_pattern, check_list
  return kind
end

function topics.names(kind)
  kind.shape = "list of topic names"
  kind.check_item, kind.check = topics.check_name, check_list
  return kind
end

-- Routes --------------------------------------------------------------------

-- What a topic that matches certainly starts with: "^eu\.or*" -> "eu.o". With
-- alternatives nothing is certain.
local function certain_start(pattern)
  if pattern:find("|", 1, true) then return "" end
  local rest = pattern:sub(2)
  local start = {}
  while true do
    local char, after = rest:match("^([%w_-])(.*)$")
    if not char then char, after = rest:match("^\\([.])(.*)$") end
    if not char or after:find("^[*?{]") then break end
    start[#start + 1], rest = char, after
  end
  return table.concat(start)
end

-- Whether some topic may match both patterns.
local function may_overlap(a, b)
  a, b = certain_start(a), certain_start(b)
  local common = math.min(#a, #b)
  return a:sub(1, common) == b:sub(1, common)
end

local function refuse_ties(routes, label)
  for i = 2, #routes do
    for j = 1, i - 1 do
      local a, b = routes[j].topic, routes[i].topic
      if topics.is_pattern(a) and topics.is_pattern(b) and #a == #b and may_overlap(a, b) then
        schema.fail(label, ("the patterns '%s' and '%s' are equally long, so neither "
          .. "comes first where both match"):format(schema.shown(a), schema.shown(b)))
      end
    end
  end
end

-- Exact names first, then patterns, the longest first: C takes the first
-- route that matches.
local function comes_first(a, b)
  local a_pattern, b_pattern = topics.is_pattern(a.topic), topics.is_pattern(b.topic)
  if a_pattern ~= b_pattern then return b_pattern end
  if a_pattern and #a.topic ~= #b.topic then return #a.topic > #b.topic end
  return a.topic < b.topic
end

local function check_handler(handler, label)
  if type(handler) == "string" then
    if handler == "" or handler:find("\0", 1, true) then
      schema.fail(label, "name of a module expected, got an empty or broken one")
    end
    return { module = handler, name = handler }
  elseif type(handler) == "function" then
    return { func = handler, label = label, name = transfer.place(handler) }
  end
  schema.expected(label, "name of a module or function", handler)
end

--- Handlers that are functions, as what can be carried to worker threads.
function topics.carry(routes)
  for _, route in ipairs(routes) do
    if route.func then route.code = transfer.dump(route.func, route.label) end
    if route.retry_func then
      route.retry_code = transfer.dump(route.retry_func, route.retry_label)
    end
  end
end

local COPIED = { "exhausted", "deadline", "batch", "rate", "max_in_flight" }

-- { handler = ..., retry = ... }; the handler may also stand first without a name.
local function check_entry(fields, entry, label)
  if type(entry) ~= "table" then return check_handler(entry, label) end
  local given = {}
  for name, value in pairs(entry) do given[name == 1 and "handler" or name] = value end
  if entry[1] ~= nil and entry.handler ~= nil then
    schema.fail(label, "two handlers, one as 'handler' and one without a name")
  end
  local checked = schema.check(fields, given, label)
  local route = checked.handler
  if checked.retry then
    route.retry = checked.retry.policy
    route.retry_func, route.retry_label = checked.retry.func, checked.retry.label
  end
  for _, name in ipairs(COPIED) do route[name] = checked[name] end
  return route
end

function topics.handler_kind(kind)
  kind.shape = kind.shape or "name of a module or function"
  kind.check = function(_, handler, label) return check_handler(handler, label) end
  return kind
end

--- Refuses a module's own table in place of its name: it would be routes for
--- the topics 'handle' and 'setup'.
function topics.refuse_module(given, label)
  for _, name in ipairs { "handle", "handle_batch" } do
    if type(given[name]) == "function" then
      schema.fail(label, ("a table is routes, and a module is given by its name; a topic '%s' is "
        .. "written { %s = { f } }"):format(name, name))
    end
  end
end

local function check_routes(kind, given, label)
  if type(given) ~= "table" then return { check_handler(given, label) } end
  topics.refuse_module(given, label)
  local routes = {}
  for topic, entry in pairs(given) do
    local place = schema.item(label, topic)
    check_name_or_pattern(topic, place)
    local route = check_entry(kind.entry, entry, place)
    route.topic = topic
    routes[#routes + 1] = route
  end
  if #routes == 0 then schema.fail(label, "no route in it") end
  table.sort(routes, comes_first)
  refuse_ties(routes, label)
  return routes
end

-- The kind of the option 'handler'; 'entry' has the fields of a route.
function topics.routes(kind)
  kind.shape = "name of a module, function, or table of routes"
  kind.check = check_routes
  return kind
end

local function has_route(routes, topic, matches)
  for _, route in ipairs(routes) do
    if route.topic == nil or route.topic == topic then return true end
    if topics.is_pattern(route.topic) and (matches == nil or matches(route.topic, topic)) then
      return true
    end
  end
  return false
end

local function check_syntax(pattern, label, matches)
  if matches == nil or pattern == nil or not topics.is_pattern(pattern) then return end
  local ok, message = pcall(matches, pattern, "")
  if not ok then schema.fail(label, message) end
end

--- Refuses patterns that C cannot compile.
function topics.require_patterns(names, routes, matches)
  for _, topic in ipairs(names) do check_syntax(topic, "option 'topics'", matches) end
  for _, route in ipairs(routes) do check_syntax(route.topic, "option 'handler'", matches) end
end

local function suggestion(name, list)
  local meant = schema.near_miss(name, list)
  return meant and (" (did you mean '%s'?)"):format(meant) or ""
end

local function exact_names(list)
  local names = {}
  for _, name in ipairs(list) do
    if not topics.is_pattern(name) then names[#names + 1] = name end
  end
  return names
end

-- Of a topic's exact name, so that the near miss is on either side.
local function require_route(topic, routes, matches)
  if has_route(routes, topic, matches) then return end
  local routed = {}
  for i, route in ipairs(routes) do routed[i] = route.topic end
  schema.fail("option 'handler'", ("no route for the topic '%s'%s"):format(topic,
    suggestion(topic, exact_names(routed))))
end

-- Internal topics -------------------------------------------------------------

-- Of Kafka itself: a pattern does not find them.
local INTERNAL = { "__consumer_offsets", "__transaction_state", "__share_group_state",
  "__cluster_metadata", "__remote_log_metadata" }

local function is_internal(topic)
  for _, name in ipairs(INTERNAL) do
    if name == topic then return true end
  end
  return false
end

local function is_in(list, name)
  for _, entry in ipairs(list) do
    if entry == name then return true end
  end
  return false
end

-- The patterns of topic.blacklist, as librdkafka reads it: a comma that is
-- meant stands twice.
local function split(blacklist)
  local list = {}
  for part in (blacklist:gsub(",,", "\0") .. ","):gmatch "([^,]*)," do
    if part ~= "" then list[#list + 1] = (part:gsub("%z", ",")) end
  end
  return list
end

local function refuse_excluded(names, blacklist, matches)
  for i, name in ipairs(names) do
    for _, pattern in ipairs(topics.is_pattern(name) and {} or blacklist) do
      local ok, found = pcall(matches, pattern, name)
      if ok and found then
        schema.fail(schema.item("option 'topics'", i),
          ("'%s' is excluded by the property 'topic.blacklist'"):format(name))
      end
    end
  end
end

-- librdkafka's properties, which are a list of pairs, with what no pattern of
-- 'names' is to find: Kafka's internal topics that are not named, beside what
-- the user excludes. A name that is excluded is misuse.
function topics.exclude_internal(names, properties, matches)
  local result, given, excluded = {}, nil, {}
  for _, pair in ipairs(properties) do
    if pair[1] == "topic.blacklist" then given = pair[2] else result[#result + 1] = pair end
  end
  if given and matches then refuse_excluded(names, split(given), matches) end
  if #exact_names(names) == #names then return properties end
  for _, name in ipairs(INTERNAL) do
    if not is_in(names, name) then excluded[#excluded + 1] = "^" .. name .. "$" end
  end
  if given and given ~= "" then table.insert(excluded, 1, (given:gsub(",+$", ""))) end
  result[#result + 1] = { "topic.blacklist", table.concat(excluded, ",") }
  table.sort(result, function(a, b) return a[1] < b[1] end)
  return result
end

-- Whether what is subscribed may bring the topic.
local function is_reached(names, topic, matches)
  for _, name in ipairs(names) do
    if name == topic then return true end
    if topics.is_pattern(name) and not is_internal(topic)
      and (matches == nil or matches(name, topic)) then return true end
  end
  return false
end

--- The same, for others.
topics.is_reached = is_reached

-- Every topic subscribed to by name needs a route, and every route for one
-- name a subscription. 'matches(pattern, topic)' is C's; without it every
-- pattern is taken to match, and C decides later.
function topics.require_routes(names, routes, matches)
  for _, topic in ipairs(exact_names(names)) do require_route(topic, routes, matches) end
  for _, route in ipairs(routes) do
    local topic = route.topic
    if topic and not topics.is_pattern(topic) and not is_reached(names, topic, matches) then
      schema.fail(schema.item("option 'handler'", topic),
        "no topic or pattern of 'topics' reaches it" .. suggestion(topic, exact_names(names)))
    end
  end
end

-- Topics to make ------------------------------------------------------------

-- The kind of a table topic name -> partitions, or -> what 'entry' describes.
-- The result is a list in the order of the names.
function topics.creation(kind)
  kind.shape = kind.shape or "table from topic name to number of partitions"
  kind.check = function(self, given, label)
    if type(given) ~= "table" then schema.expected(label, self.shape, given) end
    local list = {}
    for topic, value in pairs(given) do
      local place = schema.item(label, topic)
      topics.check_name(topic, place)
      if not (type(value) == "table" and self.takes_table) then
        value = { partitions = value }
      end
      local entry = schema.check(self.entry, value, place)
      entry.topic = topic
      list[#list + 1] = entry
    end
    table.sort(list, function(a, b) return a.topic < b.topic end)
    return list
  end
  return kind
end

return topics
