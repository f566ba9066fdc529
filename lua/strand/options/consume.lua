-- consume.lua: what strand.testing.consume takes
--
-- The options of a consumer (options/consumer.lua), of which none is required
-- that is about a connection, and those of the run itself.

local common = require "strand.options.common"
local consumer = require "strand.options.consumer"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, seconds, enum, data = schema.whole, schema.seconds, schema.enum, schema.data

local consume = {}

local WEEK, TEN_YEARS = 7 * common.DAY, 3660 * common.DAY

local own = schema.fields {
  "max_time", seconds { min = 0, max = TEN_YEARS, default = WEEK,
    doc = "how far the time goes on; what has not ended then is reported as it is" },
  "max_attempts", whole { min = 1, max = common.MOST_ATTEMPTS, default = 1000,
    doc = "the run ends when a record has failed so often and would be tried again" },
  "start_time", seconds { min = 0, max = common.LATEST, default_doc = "now",
    doc = "the time at which the run begins, since 1970: of events and dead letters" },
}

-- Records -------------------------------------------------------------------

local record = schema.fields {
  "id", data { doc = "ignored: so that a copy of a record can be given" },
  "attempt", whole { min = 1, max = common.MOST_ATTEMPTS, doc = "ignored: the first is 1" },
  "topic", topics.name_kind { default_doc = "the only one that is subscribed to" },
  "partition", common.partition { default = 0, doc = "its number" },
  "offset", common.offset { default_doc = "the next of its partition", doc = "above those before" },
  "key", data { doc = "absent: nil" },
  "value", data { doc = "absent: nil" },
  "headers", common.headers,
  "timestamp", seconds { min = 0, max = common.LATEST, doc = "absent: nil" },
  "timestamp_type", enum { "create", "append", default_doc = '`"create"`',
    doc = "of a record with a timestamp" },
  "leader_epoch", whole { min = 0, max = 2147483647, doc = "absent: nil" },
}

local LABEL = "argument 'records'"

-- As options/testing.lua has it.
local function set_timestamp(flat)
  if not flat.timestamp then
    flat.timestamp_type = nil
    return
  end
  flat.timestamp_ms = math.floor(flat.timestamp * 1000 + 0.5)
  flat.timestamp_type = flat.timestamp_type == "append" and 2 or 1
end

local function set_offset(flat, last, label)
  local place = flat.topic .. "/" .. ("%d"):format(flat.partition)
  local before = last[place]
  if flat.offset and before and flat.offset <= before then
    schema.fail(schema.child(label, "offset"), ("above %d expected, the offset of the record before "
      .. "it in %s; got %d"):format(before, place, flat.offset))
  end
  flat.offset = flat.offset or (before and before + 1 or 0)
  last[place], flat.place = flat.offset, place
  flat.id = place .. "/" .. ("%d"):format(flat.offset)
end

-- -> flat records, in their order
local function check_records(given, only_topic)
  local count = schema.check_list(given, LABEL, "list of records")
  local list, last = {}, {}
  for i = 1, count do
    local label = schema.item(LABEL, i)
    local flat = schema.check(record, given[i], label)
    flat.topic = flat.topic or only_topic
    if not flat.topic then
      schema.fail(schema.child(label, "topic"), "required where not one topic is subscribed to")
    end
    set_timestamp(flat)
    set_offset(flat, last, label)
    list[i] = flat
  end
  return list
end

-- Topics --------------------------------------------------------------------

local function is_name(name)
  return type(name) == "string" and not topics.is_pattern(name)
end

-- The exact names in a list, or of a table of routes.
local function names_in(given)
  local names = {}
  if type(given) ~= "table" then return names end
  for key, value in pairs(given) do
    local name = type(key) == "number" and value or key
    if is_name(name) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function has_pattern(given)
  for key, value in pairs(type(given) == "table" and given or {}) do
    local name = type(key) == "number" and value or key
    if type(name) == "string" and topics.is_pattern(name) then return true end
  end
  return false
end

-- The topics that records name.
local function named_by(records)
  local names, seen = {}, {}
  for _, given in ipairs(type(records) == "table" and records or {}) do
    local name = type(given) == "table" and given.topic
    if name and not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  return names
end

-- Where a record goes that names no topic; nil: it has to.
local function only_topic(options, records)
  local subject = options.topics or options.handler
  if type(subject) ~= "table" then
    local names = named_by(records)
    if #names > 1 then return nil end
    return names[1] or "topic"
  end
  local names = names_in(subject)
  return #names == 1 and not has_pattern(subject) and names[1] or nil
end

-- What is subscribed to, where that is not said: the topics of the records, and
-- of the routes.
local function topics_of(options, records)
  local list, seen = {}, {}
  local function add(name)
    if not seen[name] then list[#list + 1], seen[name] = name, true end
  end
  for _, flat in ipairs(records) do add(flat.topic) end
  if type(options.handler) == "table" then
    for _, name in ipairs(names_in(options.handler)) do add(name) end
  end
  if #list == 0 then add "topic" end
  return list
end

local function require_subscription(names, records, matches)
  for i, flat in ipairs(records) do
    if not topics.is_reached(names, flat.topic, matches) then
      schema.fail(schema.child(schema.item(LABEL, i), "topic"),
        ("no topic or pattern of 'topics' reaches '%s'"):format(flat.topic))
    end
  end
end

-- The consumer's options ------------------------------------------------------

local function refuse_senseless(options)
  if type(options.handler) == "table" then -- its keys would be taken for topics
    topics.refuse_module(options.handler, "option 'handler'")
  end
  if options.members ~= nil and options.members ~= 1 then
    schema.fail("option 'members'", "1 expected: there is no group")
  elseif options.delivery == "exactly_once" then
    schema.fail("option 'delivery'", "'exactly_once' needs a broker's transactions: test it with one")
  end
end

-- Properties that must be there, and reach nobody.
local function with_connection(kafka)
  if kafka ~= nil and type(kafka) ~= "table" then return kafka end
  local properties = { ["bootstrap.servers"] = "none", ["group.id"] = "strand.testing" }
  for name, value in pairs(kafka or {}) do properties[name] = value end
  return properties
end

local function check_loop(loop)
  local kind = consumer.fields.kinds.loop
  kind.check(kind, loop, "option 'loop'")
end

local READY_PER_WORKER, COROUTINES = 64, 256 -- as of a consumer

-- Those of worker threads: no more handlers run at once than there would be.
local function follow_workers(options, workers)
  if options.max_slice ~= nil and options.loop == nil then
    schema.fail("option 'max_slice'", "only with workers = 0, or a 'loop' in each worker")
  end
  local each = options.loop and COROUTINES or 1
  options.max_in_flight = options.max_in_flight or workers * each
  if not options.loop then options.max_ready = options.max_ready or READY_PER_WORKER * workers end
end

-- Handlers run in the caller's state, as in local mode. -> are they those of
-- threads, without a loop?
local function run_here(options)
  local workers = options.workers
  if workers == nil then workers = 0 end
  local is_count = type(workers) == "number" and workers >= 1 and workers <= 256
    and workers % 1 == 0
  if not is_count then
    options.workers = workers -- or its check says what is wrong
    return false
  end
  follow_workers(options, workers)
  local threads = options.loop == nil
  if not threads then check_loop(options.loop) end
  options.workers, options.worker_memory, options.loop = 0, nil, nil
  return threads
end

-- -> flat table for C and what consumer.open gives beside it; what of the run:
-- { records, max_time, max_attempts, start_time, group, threads }
function consume.open(given, records, matches)
  if type(given) ~= "table" then schema.expected("options", "table", given) end
  local run = schema.check(own, schema.known(own, given), "")
  local options = {}
  for name, value in pairs(given) do
    if not own.kinds[name] then options[name] = value end
  end
  refuse_senseless(options)
  run.records = check_records(records, only_topic(options, records))
  options.kafka = with_connection(options.kafka)
  run.threads = run_here(options)
  local subscribed = options.topics ~= nil
  if not subscribed then options.topics = topics_of(options, run.records) end
  local flat, beside = consumer.open(options, matches)
  if subscribed then require_subscription(flat.topics, run.records, matches) end
  flat.has_events = true
  for _, pair in ipairs(flat.kafka) do
    if pair[1] == "group.id" then run.group = pair[2] end
  end
  return flat, beside, run
end

return consume
