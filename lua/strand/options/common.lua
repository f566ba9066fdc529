-- common.lua: what the options and arguments of several objects have in common
--
-- This folder has what the user's tables and arguments may be: which options
-- exist, what each may be, its default, what it does, and whether configure{}
-- may change it while the consumer runs. An object has its own file, in which
-- a function checks the arguments of the one it is named after. It needs
-- nothing of the C side.
--
-- C receives flat, checked tables, described at 'open'. All defaults are
-- filled in, times are seconds, nothing in them belongs to the user.

local schema = require "strand.schema"

local whole, seconds, enum = schema.whole, schema.seconds, schema.enum

local common = {
  MIB = 1024 * 1024,
  TIB = 1024 ^ 4, -- of bytes
  DAY = 86400, -- of seconds
  LATEST = 1e12, -- a time of a record
  MOST_ATTEMPTS = 65535,
  MOST_PARTITIONS = 10000, -- of a topic that is made
}

local LAST_PARTITION = 2 ^ 31 - 1
local LAST_OFFSET = 2 ^ 53 -- where doubles are exact; Lua 5.1 has no others

-- Places --------------------------------------------------------------------

function common.partition(kind)
  kind.min, kind.max = 0, LAST_PARTITION
  return whole(kind)
end

function common.offset(kind)
  kind.min, kind.max = 0, LAST_OFFSET
  return whole(kind)
end

local any_offset = common.offset {}

local function check_start(kind, value, label)
  if value == "earliest" or value == "latest" then return value end
  if type(value) ~= "number" then schema.expected(label, kind.shape, value) end
  return any_offset.check(any_offset, value, label)
end

-- An offset, or one of a log's two ends.
function common.start(kind)
  kind.shape, kind.check = "offset, 'earliest' or 'latest'", check_start
  return schema.custom(kind)
end

-- Of two ways to name a place one is given: -> kind, value; the kind is "offset", "time",
-- "earliest" or "latest".
function common.start_of(checked)
  if (checked.offset == nil) == (checked.time == nil) then
    schema.fail("option 'offset'", "either 'offset' or 'time' expected")
  end
  if checked.time then return "time", checked.time end
  if type(checked.offset) == "string" then return checked.offset end
  return "offset", checked.offset
end

-- "topic/partition/offset", as a record has it: -> a table of these, or nil
function common.place_of_id(id)
  local name, index, offset = id:match "^([^/]+)/(%d+)/(%d+)$"
  if not name then return nil end
  return { topic = name, partition = tonumber(index), offset = tonumber(offset) }
end

-- Times ---------------------------------------------------------------------

local DEFAULT_TIMEOUT = 30

-- Of a method: how long it waits.
function common.timeout(kind)
  kind.min, kind.max, kind.default = 0, common.DAY, DEFAULT_TIMEOUT
  kind.doc = kind.doc or "how long to wait at most"
  return seconds(kind)
end

local wait_timeout = common.timeout {}
local serve_timeout = seconds { min = 0, max = common.DAY }

-- The argument 'timeout' of a method that waits for an answer.
function common.wait_timeout(given)
  return schema.argument(wait_timeout, given, "timeout")
end

-- That of a method that serves what there is to do. nil stays nil.
function common.serve_timeout(given)
  return schema.argument(serve_timeout, given, "timeout")
end

-- Tables and names ----------------------------------------------------------

-- A table of options that may be left out.
function common.optional(fields, given)
  if given == nil then given = {} end
  return schema.check(fields, given, "")
end

local name_kind = schema.text { required = true }

-- A name that is no topic: a group, a request, an error code.
function common.name(given, argument)
  return schema.argument(name_kind, given, argument)
end

-- Headers -------------------------------------------------------------------

local function check_header(out, name, value, label)
  if type(name) ~= "string" then -- "" is a name too
    schema.expected(label, "name of a header", name)
  elseif name:find("\0", 1, true) then -- librdkafka's consumers would see it cut
    schema.fail(label, "a zero byte inside the name")
  elseif value ~= nil and type(value) ~= "string" then
    schema.expected_string(label, value)
  end
  out[#out + 1] = name
  out[#out + 1] = value or false
end

local function has_more(pair)
  for key in pairs(pair) do
    if key ~= 1 and key ~= 2 then return true end
  end
  return false
end

local function header_pairs(out, given, label)
  local count = schema.list_length(given)
  if not count then
    schema.fail(label, "a list of { name, value } without holes, or a table from name to value "
      .. "expected, got a mixed one")
  end
  for i = 1, count do
    local pair, place = given[i], schema.item(label, i)
    if type(pair) ~= "table" then schema.expected(place, "{ name, value }", pair) end
    if has_more(pair) then schema.fail(place, "{ name, value } expected, got more") end
    check_header(out, pair[1], pair[2], place)
  end
  return out
end

local function header_map(out, given, label)
  local names = {}
  for name in pairs(given) do
    if type(name) ~= "string" then schema.expected(label, "names of headers", name) end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    check_header(out, name, given[name], schema.item(label, name))
  end
  return out
end

-- -> { name, value or false, name, value or false, ... }
local function check_headers(kind, given, label)
  if type(given) ~= "table" then schema.expected(label, kind.shape, given) end
  if given[1] ~= nil then return header_pairs({}, given, label) end
  return header_map({}, given, label)
end

common.headers = schema.custom { shape = "table from name to value, or list of { name, value }",
  check = check_headers, doc = "a list keeps its order" }

-- Clients -------------------------------------------------------------------

-- A function that takes the log's lines; false: they are thrown away.
function common.log(doc)
  return schema.custom { shape = "function, or false: none", default_doc = "stderr, warnings up",
    doc = doc,
    check = function(kind, value, label)
      if value == false then return function() end end
      if type(value) ~= "function" then schema.expected(label, kind.shape, value) end
      return value
    end }
end

function common.oauth_token(doc)
  return schema.func { doc = "`function() -> token, expires (os.time), principal`: " .. doc }
end

local NO_TOKEN_OF_OURS = { ["sasl.oauthbearer.method"] = "oidc",
  ["enable.sasl.oauthbearer.unsecure.jwt"] = "true" }

-- Nobody would answer librdkafka's request for a token, and it says nothing.
function common.require_token(checked)
  if checked.oauth_token then return end
  local wanted = false
  for _, pair in ipairs(checked.kafka) do
    local name, value = pair[1], pair[2]:lower()
    if NO_TOKEN_OF_OURS[name] == value then return end
    if name:find "^sasl%.mechanisms?$" then wanted = value == "oauthbearer" end
  end
  if wanted then
    schema.fail(schema.child("", "oauth_token"), "required with 'sasl.mechanism' OAUTHBEARER")
  end
end

common.partitioner = enum { "murmur2_random", "murmur2", "consistent", "consistent_random",
  "fnv1a", "fnv1a_random", "random", default = "murmur2_random",
  doc = "where a key goes; the default is Java's placement" }

return common
