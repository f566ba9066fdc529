-- One function for each thing that a handler may do; the record's header
-- "case" says which. What a spec wants to see it returns as the reason of a
-- failure, because reasons are what comes out of a worker. The second attempt
-- is done, but for cases that return something then too.
local cases, again = {}, {}
local kept

local function fail_with(first)
  return function(...) return false, first(...) end
end

-- Done ----------------------------------------------------------------------

function cases.nothing() end
cases["nil alone"] = function() return nil end
cases["true"] = function() return true end
cases["a number"] = function() return 0, "not a reason" end
cases["a table"] = function() return {} end

-- Failed --------------------------------------------------------------------

cases["false"] = function() return false end
cases["false and a reason"] = function() return false, "shut" end
cases["nil and a reason"] = function() return nil, "no rows" end
cases["a number as reason"] = function() return nil, 12.5 end
cases["an object as reason"] = function()
  return nil, setmetatable({}, { __tostring = function() return "an object" end })
end

cases["error with text"] = function() error("exploded") end
cases["error without place"] = function() error("exploded", 0) end
cases["error nil"] = function() error(nil) end
cases["error false"] = function() error(false) end
cases["error table"] = function() error({}) end
cases["error object"] = function()
  error(setmetatable({}, { __tostring = function() return "an object" end }))
end
cases["error with a broken __tostring"] = function()
  error(setmetatable({}, { __tostring = function() error "worse" end }))
end
cases["error with a __tostring that gives no text"] = function()
  error(setmetatable({}, { __tostring = function() return {} end }))
end
cases["a long error"] = function() error(("\195\164"):rep(5000), 0) end
cases["zero bytes"] = function() error("a\0b", 0) end
cases["a mistake"] = function(record) return record.nonsense.field end

local function deep(n)
  if n == 0 then error("at the bottom") end
  deep(n - 1)
  return n
end
cases.deep = function() deep(3) return 1 end

-- Outcomes ------------------------------------------------------------------

cases["return retry"] = function(_, context) return context:retry(0.02, "return later") end
cases["throw retry"] = function(_, context) error(context:retry(0.02, "throw later")) end
cases["retry at once"] = function(_, context) return context:retry(0) end
cases["strand.retry"] = function()
  return require "strand".retry(0.02, "without context")
end
cases["retry as reason"] = function(_, context) return nil, context:retry(0.02, "second") end
cases["__tostring of something else"] = function(record)
  local text = debug.getmetatable(record).__tostring
  return false, select(2, pcall(text, io.stdout)) .. ", " .. select(2, pcall(text))
end
cases["__index of something else"] = function(record)
  local index, raised = debug.getmetatable(record).__index, 0
  local others = { io.stdout, coroutine.create(print), "text", 1, {}, debug.getmetatable(record) }
  for _, other in ipairs(others) do
    if not pcall(index, other, "key") then raised = raised + 1 end
  end
  return false, raised .. (pcall(index) and "" or " and none")
end
cases["retry dropped"] = function(_, context) context:retry(5) end
cases["stop dropped"] = function(_, context) context:stop("enough") return true end
cases["retry caught"] = function(_, context) pcall(error, context:retry(5)) end
cases["retry in a coroutine"] = function(_, context)
  return coroutine.wrap(function() return context:retry(0.02, "from inside") end)()
end
local constant
cases["retry made before"] = function(_, context)
  constant = constant or context:retry(0.02, "used twice")
  return constant
end
again["retry made before"] = function(record)
  if record.attempt == 2 then return constant end
end
cases["wrong arguments"] = fail_with(function(_, context)
  local text = {}
  local function try(f, ...)
    text[#text + 1] = select(2, pcall(f, ...))
  end
  try(function() return context:retry(-1) end)
  try(function() return context:retry(0 / 0) end)
  try(function() return context:retry("1") end)
  try(function() return context:retry(1, {}) end)
  try(context.retry, 5)
  try(context.stop_consumer)
  return table.concat(text, "\n")
end)

-- What is not possible in a worker -------------------------------------------

cases.yield = function() coroutine.yield() end
cases["yield in a coroutine"] = fail_with(function()
  local co = coroutine.wrap(function() coroutine.yield "half" return "way" end)
  return co() .. co()
end)
cases["os.exit"] = function() os.exit(3) end
cases["later outcomes"] = function(_, context) return context:sleep() end
cases["producing without a producer"] = function(_, context) context:produce { topic = "t" } end

-- Records -------------------------------------------------------------------

cases.fields = fail_with(function(record)
  return ("%s|%s|%d|%d|%s|%s|%s|%d|%s"):format(record.id, record.topic, record.partition,
    record.offset, record.key, record.value, record.timestamp_type, record.attempt,
    tostring(record.nonsense))
end)
cases["zero bytes in a record"] = fail_with(function(record)
  return (("%s %s"):format(#record.key, #record.value) .. record.key .. record.value)
    :gsub("%z", "0")
end)
local function what(value)
  return value == nil and "nil" or ("%q"):format(value)
end
cases.absent = fail_with(function(record) return what(record.key) .. " " .. what(record.value) end)
cases.empty = cases.absent
cases.timestamp = fail_with(function(record) return ("%.3f"):format(record.timestamp) end)
cases.headers = fail_with(function(record)
  local text = {}
  for i, pair in ipairs(record.headers) do
    text[i] = ("%s=%s"):format(pair[1], what(pair[2]))
  end
  for _, name in ipairs { "twice", "none", "empty", "missing" } do
    text[#text + 1] = ("%s:%s"):format(name, what(record:header(name)))
  end
  return table.concat(text, " ")
end)
cases.once = fail_with(function(record)
  local same = rawequal(record.headers, record.headers) and record.key == record.key
  return same and "the same" or "made twice"
end)
cases["changing a record"] = function(record) record.key = "other" end
cases["not a record"] = function(record) return record.header({}, "name") end
cases.tostring = fail_with(function(record)
  return ("%s %s"):format(tostring(record), tostring(getmetatable(record)))
end)

cases.keep = fail_with(function(record)
  kept = { record, record:copy(), record.header }
  return "kept"
end)
again.keep = function()
  if not kept then return end
  local record, copy, header = kept[1], kept[2], kept[3]
  kept = nil
  local ok, message = pcall(function() return record.value end)
  local called, complaint = pcall(header, record, "case")
  return nil, ("%s %s; %s %s; %s; %s %s %s"):format(tostring(ok), message, tostring(called),
    complaint, tostring(record), copy.key, copy.headers[1][1], copy.id)
end

-- The context ---------------------------------------------------------------

cases.context = fail_with(function(_, context)
  return ("worker %d, %s"):format(context.worker, context.args.list[2])
end)
cases["changing the context"] = function(_, context) context.args = 1 end
local last_context
cases["one context"] = fail_with(function(_, context)
  last_context = context
  return "first"
end)
again["one context"] = function(record, context)
  if record.attempt > 2 then return end
  return nil, tostring(rawequal(last_context, context))
end

-- Retry functions (the spec's has a branch for each of these) ----------------

for _, name in ipairs { "soon", "nil", "negative", "nan", "text", "error", "infinite",
  "beyond", "outcome" } do
  cases["policy " .. name] = function() return nil, "policy " .. name end
end
cases["policy asked"] = cases["policy soon"]

local folder
local function note(text)
  local file = assert(io.open(folder .. "/notes", "a"))
  file:write(text, "\n")
  file:close()
end

return {
  setup = function(args)
    folder = args.folder
    note("setup " .. args.list[1])
  end,
  handle = function(record, context)
    local name = record:header "case"
    if record.attempt == 1 then return cases[name](record, context) end
    if again[name] then return again[name](record, context) end
  end,
  teardown = function() note "teardown" end,
}
