-- properties.lua: the 'kafka' option, librdkafka's own properties
--
-- librdkafka knows which properties exist and what they may be, so the C side
-- has it check them; it also says which ones strand owns, and which are
-- secrets. Here stands which must be there, and what a property's value may
-- be. No message ever holds a property's value.
-- Used of strand.core:
--
-- core.property_refusal(role, name)  -> why it is not to be set | nil
-- core.property_is_secret(name)      -> whether its value is not to be shown

local core = require "strand.core"
local schema = require "strand.schema"

local properties = {}

local function number_text(value)
  if value % 1 == 0 then return ("%.0f"):format(value) end
  return (("%.14g"):format(value):gsub(",", "."))
end

local function value_text(value, label)
  local kind = type(value)
  if kind == "string" then
    if value:find("\0", 1, true) then schema.fail(label, "a zero byte inside") end
    return value
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "number" and value == value and math.abs(value) ~= math.huge then
    return number_text(value)
  end
  schema.expected(label, "string, number or boolean", value)
end

-- Those that go to the brokers as they are.
local NAMES = { ["client.id"] = true, ["client.rack"] = true, ["group.id"] = true,
  ["group.instance.id"] = true }

local function checked_text(name, value, label)
  local text = value_text(value, label)
  if NAMES[name] then schema.refuse_long(text, label) end
  return text
end

-- -> a list of { name, value } in the order of the names
local function read(given, label, role)
  local list = {}
  for name, value in pairs(given) do
    if type(name) ~= "string" then
      schema.fail(label, "names of librdkafka's properties expected, got " .. schema.describe(name))
    end
    local place = schema.item(label, name)
    local reason = core.property_refusal(role, name)
    if reason then schema.fail(place, "not to be set: " .. reason) end
    list[#list + 1] = { name, checked_text(name, value, place) }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

-- Of a name that must be there: which of those given was probably meant.
local function instead(given, name)
  local names = {}
  for other in pairs(given) do
    if type(other) == "string" then names[#names + 1] = other end
  end
  table.sort(names)
  local meant = schema.near_miss(name, names)
  return meant and (" (given is '%s')"):format(meant) or ""
end

-- The kind of the option 'kafka'; 'needed' lists what must be there.
function properties.kind(kind)
  kind.required = not kind.optional
  kind.shape = "table of librdkafka's properties"
  kind.check = function(self, given, label)
    if type(given) ~= "table" then schema.expected(label, self.shape, given) end
    for _, name in ipairs(self.needed) do
      if given[name] == "" then schema.fail(schema.item(label, name), "string expected, got an empty one") end
      if given[name] == nil then
        schema.fail(label, ("'%s' is required%s"):format(name, instead(given, name)))
      end
    end
    return read(given, label, self.role)
  end
  return kind
end

-- Of a connection: what reaches the brokers, and not what is read there.
local CONNECTION = { "^bootstrap%.servers$", "^client%.id$", "^client%.dns%.lookup$", "^security%.",
  "^sasl%.", "^ssl%.", "^enable%.ssl%.", "^enable%.sasl%.", "^socket%.", "^reconnect%.",
  "^broker%.", "^connections%.", "^api%.version%." }

local function is_of_connection(name)
  for _, pattern in ipairs(CONNECTION) do
    if name:find(pattern) then return true end
  end
  return false
end

-- What a second client needs for the same connection, then 'own': a property
-- may have two names (sasl.mechanism, sasl.mechanisms), and the last counts.
function properties.overlay(list, own)
  local replaced, result = {}, {}
  for _, pair in ipairs(own) do replaced[pair[1]] = true end
  for _, pair in ipairs(list) do
    if is_of_connection(pair[1]) and not replaced[pair[1]] then result[#result + 1] = pair end
  end
  for _, pair in ipairs(own) do result[#result + 1] = pair end
  return result
end

-- -> text | nil: it is not in the list
function properties.find(list, name)
  local found
  for _, pair in ipairs(list) do
    if pair[1] == name then found = pair[2] end
  end
  return found
end

-- A message of librdkafka may repeat the value that it refused.
function properties.hide_secrets(message, list)
  local secrets = {}
  for _, pair in ipairs(list) do
    if pair[2] ~= "" and core.property_is_secret(pair[1]) then secrets[#secrets + 1] = pair[2] end
  end
  -- The longest first: one may begin with another.
  table.sort(secrets, function(a, b) return #a > #b end)
  for _, secret in ipairs(secrets) do
    message = message:gsub(secret:gsub("%p", "%%%0"), "***")
  end
  return message
end

return properties
