-- transfer.lua: what can be carried into another Lua state
--
-- Handlers run in Lua states of their own. Two things are carried there:
-- functions, as the bytes of string.dump, and plain values, as Lua source
-- that rebuilds them exactly. Anything that would arrive changed is refused
-- here, with its name, instead of failing strangely over there.

local schema = require "strand.schema"

local transfer = {}

-- Functions -----------------------------------------------------------------

-- Since 5.2 globals are reached through an upvalue of this name; the worker
-- sets it to its own globals. In 5.1 and LuaJIT it is a name like any other.
local ENVIRONMENT = _VERSION ~= "Lua 5.1" and "_ENV" or nil

local function lost_upvalues(f)
  local names, nameless = {}, false
  for i = 1, debug.getinfo(f, "u").nups do
    local name = debug.getupvalue(f, i)
    if name == nil or name:find("^%(%*?no name%)$") or name == "" then
      nameless = true
    elseif name ~= ENVIRONMENT then
      names[#names + 1] = ("'%s'"):format(name)
    end
  end
  return names, nameless
end

-- "main.lua:12", for messages about a function that has no module.
local function place_of(info)
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

--- The place where a function was written.
function transfer.place(f)
  return place_of(debug.getinfo(f, "S"))
end

-- -> the dumped bytes
function transfer.dump(f, label)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then
    schema.fail(label, "a C function cannot be carried to worker threads; name a module")
  end
  local names, nameless = lost_upvalues(f)
  if #names > 0 then
    schema.fail(label, ("the function at %s uses %s from outside it, which would be lost on "
      .. "the way to a worker thread; require it inside the function or name a module")
      :format(place_of(info), table.concat(names, ", ")))
  elseif nameless then
    schema.fail(label, "the function was compiled without debug information, so it cannot "
      .. "be seen what it uses from outside; name a module")
  end
  return string.dump(f)
end

-- Plain values --------------------------------------------------------------

local MAX_DEPTH = 100
-- LuaJIT compiles at most 65,536 constants in one function.
local MAX_VALUES = 20000

local function quote(text)
  return '"' .. text:gsub('[%c"\\\127-\255]', function(c)
    return ("\\%03d"):format(c:byte())
  end) .. '"'
end

-- Written as divisions: Lua 5.1 takes the constants 0 and -0 for the same.
local function special_number(n)
  if n ~= n then return "(0/0)" end
  if n == math.huge then return "(1/0)" end
  if n == -math.huge then return "(-1/0)" end
  if n == 0 and 1 / n < 0 then return "(-1/(1/0))" end
end

local function integer_text(n)
  -- As a decimal, the lowest integer would be read as a float.
  if n == math.mininteger then return "0x8000000000000000" end
  return ("%d"):format(n)
end

local function number_text(n)
  if math.type and math.type(n) == "integer" then return integer_text(n) end
  local text = special_number(n)
  if text then return text end
  text = ("%.17g"):format(n):gsub(",", ".") -- some locales write a comma
  if math.type and text:find("^%-?%d+$") then text = text .. ".0" end
  return text
end

local scalar = {
  ["nil"] = tostring,
  boolean = tostring,
  number = number_text,
  string = quote,
}

local function key_label(label, key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return schema.child(label, key)
  end
  return schema.item(label, key)
end

-- Keys in a fixed order, so that the same value always gives the same text.
local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    local kind = type(a)
    if kind == type(b) and (kind == "number" or kind == "string") then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local write

local function write_table(out, t, label, depth)
  if getmetatable(t) ~= nil then
    schema.fail(label, "a table with a metatable cannot be carried to worker threads")
  elseif out.open[t] then
    schema.fail(label, "a table that contains itself cannot be carried to worker threads")
  elseif depth > MAX_DEPTH then
    schema.fail(label, ("nested deeper than %d tables"):format(MAX_DEPTH))
  end
  out.open[t] = true
  out[#out + 1] = "{"
  for _, key in ipairs(sorted_keys(t)) do
    if not scalar[type(key)] then
      schema.fail(label, ("a %s as a key cannot be carried to worker threads"):format(type(key)))
    end
    out[#out + 1] = ("[%s]="):format(scalar[type(key)](key))
    write(out, t[key], key_label(label, key), depth + 1)
    out[#out + 1] = ","
  end
  out[#out + 1] = "}"
  out.open[t] = nil
end

function write(out, value, label, depth)
  out.count = out.count + 1
  if out.count > MAX_VALUES then
    schema.fail(out.label, ("more than %d values; put them into a module"):format(MAX_VALUES))
  end
  local text = scalar[type(value)]
  if text then
    out[#out + 1] = text(value)
  elseif type(value) == "table" then
    write_table(out, value, label, depth)
  else
    schema.fail(label, ("a %s cannot be carried to worker threads"):format(type(value)))
  end
end

-- -> Lua source whose chunk returns an equal value
function transfer.text(value, label)
  local out = { "return ", open = {}, count = 0, label = label }
  write(out, value, label, 1)
  return table.concat(out)
end

return transfer
