-- Handlers that go wrong, by name (spec/hostile_spec.lua): handler_args is the
-- name of what this consumer's do with a record whose key is "bad". A record
-- of another key is an ordinary one, or a plain one, which needs nothing but
-- itself.
local helpers = { require = require, string = string }
local kept = {} -- by name: in local mode all consumers share this module

local function load_text(text)
  return assert((loadstring or load)(text))()
end

local function object(text)
  return setmetatable({}, { __tostring = text })
end

-- A userdata or table whose finalizer is 'f', garbage when this returns.
local function finalized(f)
  if newproxy then
    getmetatable(newproxy(true)).__gc = f
  else
    setmetatable({}, { __gc = f })
  end
end

local hostile = {}

-- ---- errors ------------------------------------------------------------------

hostile["an error in an error handler"] = function()
  error(select(2, xpcall(error, function() error "in the handler" end)) or "nothing", 0)
end
hostile["a __tostring that never ends calling itself"] = function()
  local e
  e = object(function() return "an " .. tostring(e) end)
  error(e)
end
hostile["an error message of 64 MiB"] = function() error(("e"):rep(2 ^ 26), 0) end
hostile["an error message with zero bytes"] = function() error("a\0b\0", 0) end
hostile["an error value that is the global table"] = function() error(_G) end
hostile["an outcome and a record of an earlier call, raised"] = function(record, context)
  local before = kept[context.args]
  kept[context.args] = { record, context:retry(0.01, "first") }
  if not before then error(kept[context.args][2]) end
  error(before[1])
end
hostile["250 results"] = function()
  local list = {}
  for i = 1, 250 do list[i] = i end
  return false, (table.unpack or unpack)(list)
end
hostile["an error in __close"] = function()
  if _VERSION ~= "Lua 5.4" then error "in __close: only 5.4 has it" end
  load_text [[local x <close> = setmetatable({}, { __close = function() error "in __close" end })]]
end
hostile["errors in finalizers, at once and later"] = function()
  for _ = 1, 20 do finalized(function() error "in __gc" end) end
  helpers.later = helpers.later or finalized(function() error "in __gc, later" end)
  collectgarbage()
  error "after the finalizers"
end

-- ---- recursion, memory, coroutines --------------------------------------------

local function deeper(n) return 1 + deeper(n + 1) end
hostile["a recursion without end"] = function() return deeper(1) end
hostile["a recursion through string.gsub"] = function()
  local function again(s) return (s:gsub(".", again)) end
  return again "x"
end
hostile["a recursion through pcall"] = function()
  local function again() return pcall(again) end
  again()
  error "it came back"
end
hostile["a tower of metamethods"] = function()
  local t
  t = setmetatable({}, { __index = function(_, k) return t[k .. "x"] end })
  return t.x
end
hostile["a chain of __index tables without end"] = function()
  local t = {}
  setmetatable(t, { __index = t })
  return t.x.y
end
hostile["a recursion through coroutines"] = function()
  local function again()
    local ok, message = coroutine.resume(coroutine.create(again))
    if not ok then error(message, 0) end
  end
  again()
end
hostile["memory without end"] = function()
  local list = {}
  repeat list[#list + 1] = { #list } until list == nil
end
hostile["memory kept in a global"] = function()
  kept_for_ever = kept_for_ever or {} -- luacheck: ignore
  while true do kept_for_ever[#kept_for_ever + 1] = { 1 } end -- luacheck: ignore
end
hostile["a string of 1 GiB"] = function() return ("x"):rep(2 ^ 30) end
hostile["10,000 coroutines that are never resumed"] = function()
  for _ = 1, 10000 do
    local resume = coroutine.wrap(function() coroutine.yield(1) error "never" end)
    resume()
  end
  error "and dropped"
end
hostile["a yield, also across pcall"] = function()
  pcall(coroutine.yield)
  coroutine.yield()
end
hostile["a loop without end, with a deadline"] = function() while true do end end
hostile["a loop that catches every error, with a deadline"] = function()
  while true do pcall(function() while true do end end) end
end

-- ---- the process ----------------------------------------------------------------

hostile["os.exit"] = function() os.exit(3) end
hostile["closing stdin, stdout and stderr"] = function()
  for _, name in ipairs { "stdin", "stdout", "stderr" } do pcall(io[name].close, io[name]) end
  error(io.stdout:write "" and "they stay open" or "closed")
end
hostile["an unknown locale"] = function() error("locale: " .. tostring(os.setlocale "xx"), 0) end
hostile["a producer and a consumer of its own, dropped"] = function()
  if helpers.opened then error "dropped before" end
  helpers.opened = true
  local strand = require "strand"
  local kafka = { ["bootstrap.servers"] = "127.0.0.1:1" }
  assert(strand.producer { kafka = kafka, log = function() end }):send { topic = "t", value = "1" }
  kafka["group.id"] = "hostile"
  assert(strand.consumer { kafka = kafka, topics = { "t" }, handler = function() end, workers = 1,
    log = function() end }):start()
  error "dropped"
end
hostile["asking the consumer to end, and failing"] = function(_, context)
  local reached = {}
  for name in pairs(debug.getmetatable(context).__index) do reached[#reached + 1] = name end
  table.sort(reached)
  error("reached: " .. table.concat(reached, " "), 0)
end

-- ---- keeping ---------------------------------------------------------------------

hostile["a record that is kept"] = function(record, context)
  local before = kept[context.args]
  kept[context.args] = record
  error(before and tostring(select(2, pcall(function() return before.value end))) or "kept", 0)
end
hostile["a record under another metatable"] = function(record)
  debug.setmetatable(record, {})
  error("now a " .. tostring(record):match "^%w+", 0)
end
hostile["a hook that raises"] = function()
  debug.sethook(function() error("in the hook", 0) end, "crl", 1)
end
hostile["debug.setmetatable on nil, numbers and functions"] = function()
  local raise = function() error "a metamethod" end
  for _, value in ipairs { 1, print, true } do debug.setmetatable(value, { __index = raise }) end
  debug.setmetatable(nil, { __index = raise, __call = raise })
  return nil, (nil).field
end

-- ---- what stays in the state --------------------------------------------------------

hostile["collectgarbage \"stop\""] = function() collectgarbage "stop" error "stopped" end
hostile["collectgarbage \"generational\""] = function()
  pcall(collectgarbage, "generational")
  error "generational"
end
hostile["a global table that raises"] = function()
  local function raise(_, name) error("global " .. tostring(name), 2) end
  setmetatable(_G, { __index = raise, __newindex = raise })
  return no_such_global -- luacheck: ignore
end
hostile["require, error, tostring, pcall and the like replaced"] = function()
  local raise = error
  for _, name in ipairs { "require", "error", "tostring", "type", "pcall", "xpcall", "select",
    "print", "setmetatable", "getmetatable", "next", "pairs" } do
    _G[name] = function() raise("replaced: " .. name, 0) end
  end
  _G.debug = { traceback = error }
  error "never"
end
hostile["package.loaded emptied"] = function()
  for name in pairs(package.loaded) do package.loaded[name] = nil end
  return require "string"
end
hostile["a broken metatable of strings"] = function()
  getmetatable("").__index = function() error("no method", 0) end
  return ("x"):upper()
end
hostile["a broken metatable of records"] = function(record)
  debug.getmetatable(record).__index = nil
  debug.getmetatable(record).__tostring = function() return {} end
  return record.key
end

-- ---- the others -----------------------------------------------------------------------

local function ordinary(record)
  local parts = {}
  for part in tostring(record):gmatch "%w+" do parts[#parts + 1] = part:upper() end
  assert(select("#", pcall(error, "x")) == 2 and #parts > 2)
  assert(require "string" == helpers.string)
  assert(coroutine.wrap(function() coroutine.yield(record.key) end)() == record.key)
end

return {
  handle = function(record, context)
    local name = context.args
    if name == "a broken metatable of records" then -- no record can be looked at then
      if helpers.broken then return end
      helpers.broken = true
      return hostile[name](record, context)
    end
    local key = record.key
    if key == "bad" then return hostile[name](record, context) end
    if helpers.string.find(key, "^ordinary") then return ordinary(record) end
  end,
  names = hostile,
}
