-- Does in a record's first attempt what its value says, and is done in the
-- next:
--
--   HOW SOURCE NAME [REASON]   an outcome of strand's or the context's:
--                              "return", "throw", "answer" (nil and it),
--                              "drop", "keep" (thrown and caught)
--                              a SOURCE "copy" is a second copy of strand.core
--   always / often N           fails in each attempt; asks for a retry N times
--   anything else              a key of 'plain'
local strand = require "strand"

local function object(text)
  return setmetatable({}, { __tostring = function() return text end })
end

local plain = {
  ["nothing"] = function() end,
  ["nil"] = function() return nil end,
  ["true"] = function() return true end,
  ["a number"] = function() return 0 end,
  ["a string and more"] = function() return "false", false, 5 end,
  ["a table"] = function() return { false } end,
  ["false"] = function() return false end,
  ["false and a reason"] = function() return false, "shut" end,
  ["nil and a reason"] = function() return nil, "no rows" end,
  ["nil and an object"] = function() return nil, object "an object" end,
  ["error with text"] = function() error "exploded" end,
  ["error nil"] = function() error() end,
  ["error false"] = function() error(false) end,
  ["error with a number"] = function() error(12.5) end,
  ["error with a table"] = function() error {} end,
  ["error with an object"] = function() error(object "an object") end,
  ["error with a broken object"] = function() error(object(print)) end,
  ["error with userdata"] = function() error(io.stdout) end,
  ["error with a coroutine"] = function() error(coroutine.create(function() end)) end,
  ["error with a function"] = function() error(print) end,
  ["error with a record"] = function(record) error(record) end,
  ["error with the context"] = function(_, context) error(context) end,
  ["retry never"] = function(_, context) return context:retry(1 / 0) end,
  ["return strand's"] = function() return strand.skip end,
  ["return the context's"] = function(_, context) return context.retry end,
  ["yield"] = function() coroutine.yield() end,
  ["yield across pcall"] = function()
    local ok, message = pcall(coroutine.yield, 1)
    error(ok and "it went on" or message, 0)
  end,
}

local unpack = table.unpack or unpack

-- The same file under another name is another library.
local function open_copy()
  for template in package.cpath:gmatch "[^;]+" do
    local from = io.open(template:gsub("%?", "strand/core"), "rb")
    if from then
      local path = os.tmpname()
      local to = assert(io.open(path, "wb"))
      assert(to:write(from:read "*a"))
      to:close()
      from:close()
      local open = assert(package.loadlib(path, "luaopen_strand_core"))
      os.remove(path)
      return open()
    end
  end
end

local copy

local function make(context, source, name, reason)
  local arguments = { reason ~= "" and reason or nil }
  if name == "retry" then arguments = { 0.01, arguments[1] } end
  if source == "copy" then
    copy = copy or open_copy()
    return copy[name](unpack(arguments, 1, 2))
  end
  if source == "strand" then return strand[name](unpack(arguments, 1, 2)) end
  return context[name](context, unpack(arguments, 1, 2))
end

local ways = {
  ["return"] = function(outcome) return outcome end,
  throw = function(outcome) error(outcome) end,
  answer = function(outcome) return nil, outcome end,
  drop = function() return true end,
  keep = function(outcome) pcall(error, outcome) end,
}

return function(record, context)
  local value = record.value
  if value == "always" then error("attempt " .. record.attempt, 0) end
  local times = value:match "^often (%d+)$"
  if times then return record.attempt <= tonumber(times) and context:retry() or nil end
  if record.attempt > 1 then return end
  if plain[value] then return plain[value](record, context) end
  local how, source, name, reason = value:match "^(%l+) (%l+) ([%l_]+) ?(.*)$"
  local outcome = make(context, source, name, reason)
  return ways[how](outcome)
end
