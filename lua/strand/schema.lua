-- schema.lua: what a table of options may hold
--
-- A *kind* says what one option may be: it checks a value, words the error,
-- and describes itself for the manual. A list of names and kinds is a
-- *schema*. Nothing here knows Kafka.
--
--   kind   { shape, check(kind, value, label), default, doc, runtime, required }
--   label  "option 'retry.delay'": where a value stands, as messages name it
--
-- A check returns the value as the rest of the module wants it, or raises.
-- The user's table is only read.

local schema = {}

local floor = math.floor
local to_integer = math.tointeger or function(n) return n end

-- Errors point at the first line of Lua that is not ours, however deep below
-- the public function the mistake is found.
local own_folder = debug.getinfo(1, "S").source:match("^(@.*[/\\])[^/\\]*$")

local function is_own(source)
  return own_folder ~= nil and source:sub(1, #own_folder) == own_folder
end

function schema.raise(message)
  local level = 2
  local info = debug.getinfo(level, "Sl")
  while info and (info.currentline < 0 or is_own(info.source)) do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  error(message, info and level or 0)
end

local function fail(label, problem)
  schema.raise(label .. ": " .. problem)
end
schema.fail = fail

-- Strings are never shown: one may be a password that was put in the wrong
-- place.
function schema.describe(value)
  local kind = type(value)
  if kind == "number" then
    if value ~= value then return "nan" end
    return ("%.14g"):format(value)
  elseif kind == "nil" or kind == "boolean" then
    return tostring(value)
  end
  return "a " .. kind
end

local function expected(label, shape, value)
  fail(label, ("%s expected, got %s"):format(shape, schema.describe(value)))
end
schema.expected = expected

-- A number has more than one text: which is meant, the caller says.
function schema.expected_string(label, value)
  local hint = (type(value) == "number" or type(value) == "boolean") and "; tostring() makes one"
  fail(label, ("string expected, got %s%s"):format(schema.describe(value), hint or ""))
end

local LONGEST_SHOWN = 256

--- A byte as messages show it where it is not printed.
function schema.escaped(byte)
  return ("\\x%02x"):format(byte:byte())
end

-- A name that the caller gave, as messages show it: a megabyte is cut, and not
-- within a character; at a zero byte an interpreter would end the message.
function schema.shown(name)
  local text = tostring(name):gsub("[%z\1-\31\127]", schema.escaped)
  if #text <= LONGEST_SHOWN then return text end
  local start = text:sub(1, LONGEST_SHOWN):gsub("[\194-\244][\128-\191]*$", "")
  return ("%s... (%d bytes)"):format(start, #text)
end

-- "option 'retry'" and "delay" -> "option 'retry.delay'"
function schema.child(label, name)
  if label == "" then return ("option '%s'"):format(schema.shown(name)) end
  return ("%s.%s'"):format(label:sub(1, -2), schema.shown(name))
end

-- The same for a name that may hold dots, and for places in a list.
function schema.item(label, key)
  local text = schema.shown(key)
  if type(key) == "string" then text = '"' .. text .. '"' end
  return ("%s[%s]'"):format(label:sub(1, -2), text)
end

-- The length of a list without holes and other keys, or nil.
function schema.list_length(t)
  local count = 0
  for key in pairs(t) do
    if type(key) ~= "number" then return nil end
    count = count + 1
  end
  return count == #t and count or nil
end

-- The length of what is to be a list.
function schema.check_list(given, label, shape)
  if type(given) ~= "table" then expected(label, shape, given) end
  local count = schema.list_length(given)
  if not count then fail(label, shape .. " expected, got a table with names or holes") end
  return count
end

-- Near misses ---------------------------------------------------------------

-- Insertions, deletions, replacements and swaps of neighbours that turn one
-- name into the other.
local function distance(a, b)
  local before, above, row = {}, {}, {}
  for j = 0, #b do above[j] = j end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1)
         and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, above, row = above, row, before
  end
  return above[#b]
end

local LONGEST_COMPARED = 64

local STEM = 4

-- "retries" for "retry": all but the candidate's last letter is there.
local function same_stem(name, candidate)
  local stem = math.max(STEM, #candidate - 1)
  return #candidate >= STEM and name:lower():sub(1, stem) == candidate:sub(1, stem)
end

-- The name of the list that was probably meant, or nil.
function schema.near_miss(name, names)
  if type(name) ~= "string" or #name > LONGEST_COMPARED then return nil end
  local best, best_distance = nil, math.max(1, floor(#name / 3)) + 1
  for _, candidate in ipairs(names) do
    local d = distance(name:lower(), candidate)
    if d < best_distance then best, best_distance = candidate, d end
  end
  for _, candidate in ipairs(best and {} or names) do
    if same_stem(name, candidate) then return candidate end
  end
  return best
end

-- Numbers -------------------------------------------------------------------

local function in_range(kind, value)
  return type(value) == "number" and value >= kind.min and value <= kind.max
end

local function check_number(kind, value, label)
  if not in_range(kind, value) then expected(label, kind.shape, value) end
  return value
end

local function check_whole(kind, value, label)
  if not in_range(kind, value) or floor(value) ~= value then
    expected(label, kind.shape, value)
  end
  return to_integer(value)
end

local function bound(n)
  return n % 1 == 0 and ("%.0f"):format(n) or ("%.14g"):format(n)
end

local function ranged(unit, check)
  return function(kind)
    kind.shape = ("%s from %s to %s"):format(unit, bound(kind.min), bound(kind.max))
    kind.unit = unit
    kind.check = check
    return kind
  end
end

schema.whole = ranged("whole number", check_whole)
schema.number = ranged("number", check_number)
schema.seconds = ranged("seconds", check_number)
schema.bytes = ranged("whole number of bytes", check_whole)

-- Other plain kinds ---------------------------------------------------------

local function check_enum(kind, value, label)
  if type(value) ~= "string" then expected(label, kind.shape, value) end
  for _, name in ipairs(kind) do
    if name == value then return value end
  end
  fail(label, ("'%s' is not one of its names (%s)"):format(
    schema.shown(value), table.concat(kind, ", ")))
end

function schema.enum(kind)
  kind.shape = "one of " .. table.concat(kind, ", ")
  kind.check = check_enum
  return kind
end

local function typed(name, shape)
  local function check(kind, value, label)
    if type(value) ~= name then expected(label, kind.shape, value) end
    return value
  end
  return function(kind)
    kind.shape = kind.shape or shape
    kind.check = check
    return kind
  end
end

schema.flag = typed("boolean", "true or false")
schema.func = typed("function", "function")
schema.data = typed("string", "string")

-- A string of Kafka's protocol has 32,767 bytes at most, and strand adds to some: "-<index>". What
-- is longer librdkafka would cut, or write wrongly, and no broker answers that.
schema.LONGEST = 32750

function schema.refuse_long(text, label)
  if #text <= schema.LONGEST then return end
  fail(label, ("%d bytes; Kafka's names have %d at most"):format(#text, schema.LONGEST))
end

local function check_text(kind, value, label)
  if type(value) ~= "string" then expected(label, kind.shape, value) end
  if value == "" then fail(label, kind.shape .. " expected, got an empty one") end
  if value:find("\0", 1, true) then fail(label, "a zero byte inside") end
  schema.refuse_long(value, label)
  return value
end

function schema.text(kind)
  kind.shape = kind.shape or "string"
  kind.check = check_text
  return kind
end

-- A kind with a check of its own: shape and check are given.
function schema.custom(kind)
  return kind
end

-- Groups --------------------------------------------------------------------

-- Names and kinds in the order of the manual: schema.fields { "workers", whole {...}, ... }
function schema.fields(list)
  local fields = { names = {}, kinds = {}, labels = {} }
  for i = 1, #list, 2 do
    local name = list[i]
    fields.names[#fields.names + 1] = name
    fields.kinds[name] = list[i + 1]
    fields.labels[name] = schema.child("", name)
  end
  return fields
end

-- Labels of the outermost table are ready made: send{} checks each record.
local function label_of(fields, name, label)
  return label == "" and fields.labels[name] or schema.child(label, name)
end

local function unknown(fields, name, label)
  local message = "unknown " .. schema.child(label, name)
  local meant = schema.near_miss(name, fields.names)
  if meant then
    local full = schema.child(label, meant):match("'(.*)'$")
    message = ("%s (did you mean '%s'?)"):format(message, full)
  elseif label == "" and fields.kinds.kafka and tostring(name):find(".", 1, true) then
    message = message .. " (librdkafka's properties belong in 'kafka')"
  end
  schema.raise(message)
end

-- Of several unknown names always the same one is reported.
local function refuse_unknown(fields, given, label)
  local worst
  for name in pairs(given) do
    if not fields.kinds[name] and (worst == nil or tostring(name) < tostring(worst)) then
      worst = name
    end
  end
  if worst ~= nil then unknown(fields, worst, label) end
end

-- A copy of 'given' without what 'fields' does not know.
function schema.known(fields, given)
  if type(given) ~= "table" then return given end
  local known = {}
  for _, name in ipairs(fields.names) do known[name] = given[name] end
  return known
end

-- For what runs: raises where an option is given that does not change then.
-- Before values are looked at: those may be right or wrong, it is all one.
function schema.refuse_fixed(fields, given, noun)
  if type(given) ~= "table" then return end
  local fixed, others
  for _, name in ipairs(fields.names) do
    if fields.kinds[name].runtime then
      others = others and others .. ", " .. name or name
    elseif given[name] ~= nil then
      fixed = fixed or name
    end
  end
  if fixed then
    fail(schema.child("", fixed), ("cannot be changed while the %s runs; what can be: %s")
      :format(noun, others))
  end
end

-- A new table with the checked options that are given, and nothing else.
function schema.check_given(fields, given, label)
  if type(given) ~= "table" then
    expected(label == "" and "options" or label, "table", given)
  end
  refuse_unknown(fields, given, label)
  local result = {}
  for _, name in ipairs(fields.names) do
    local value = given[name]
    if value ~= nil then
      local kind = fields.kinds[name]
      result[name] = kind.check(kind, value, label_of(fields, name, label))
    end
  end
  return result
end

-- The same with every default filled in; what is required must be there.
function schema.check(fields, given, label)
  local result = schema.check_given(fields, given, label)
  for _, name in ipairs(fields.names) do
    local kind = fields.kinds[name]
    if result[name] == nil then
      if kind.required then
        fail(label_of(fields, name, label), "required, " .. kind.shape .. " expected")
      end
      result[name] = kind.default
    end
  end
  return result
end

-- A table of options inside an option.
function schema.group(kind)
  kind.shape = "table"
  kind.check = function(self, value, label)
    return schema.check(self.members, value, label)
  end
  return kind
end

-- A positional argument.
function schema.argument(kind, value, name)
  local label = ("argument '%s'"):format(name)
  if value ~= nil then return kind.check(kind, value, label) end
  if kind.required then fail(label, "required, " .. kind.shape .. " expected") end
  return kind.default
end

-- The manual ----------------------------------------------------------------

local MIB = 1024 * 1024

local function plain_default(kind)
  local value = kind.default
  if type(value) == "string" then return ('`"%s"`'):format(value) end
  if kind.unit == "seconds" then return ("%.14g s"):format(value) end
  if kind.unit == "whole number of bytes" and value % MIB == 0 then
    return ("%.0f MiB"):format(value / MIB)
  end
  return schema.describe(value)
end

local function default_text(kind)
  if kind.default_doc then return kind.default_doc end
  if kind.required then return "required" end
  if kind.default == nil then return "" end
  return plain_default(kind)
end

local function add_rows(rows, fields, prefix, with_runtime)
  for _, name in ipairs(fields.names) do
    local kind = fields.kinds[name]
    local cells = { ("`%s%s`"):format(prefix, name), kind.shape, default_text(kind) }
    if with_runtime then cells[#cells + 1] = kind.runtime and "yes" or "" end
    cells[#cells + 1] = kind.doc
    local row = table.concat(cells, " | "):gsub("  +", " ")
    rows[#rows + 1] = ("| %s |"):format(row)
    if kind.members then
      add_rows(rows, kind.members, prefix .. name .. ".", with_runtime)
    end
  end
end

-- The Markdown table of a schema, without a line break at its end.
function schema.manual(fields, with_runtime)
  local rows = with_runtime
    and { "| Option | Value | Default | Run time | What it is |", "|---|---|---|---|---|" }
    or { "| Option | Value | Default | What it is |", "|---|---|---|---|" }
  add_rows(rows, fields, "", with_runtime)
  return table.concat(rows, "\n")
end

return schema
