-- adapter.lua: what strand asks of an event loop, and what it can know of a coroutine
--
-- An adapter is a table of functions. Those that wait are called in coroutines of the loop alone.
--
-- spawn(body) -> handle   begins body() in a new coroutine of the loop, once, now or later; body
--                         raises nothing
-- wait_readable(fd)       returns when fd is readable, or earlier; the loop keeps nothing of fd
--                         after that: it may be closed
-- sleep(seconds | nil, waiter | nil)   parks the coroutine for so long; nil: until it is woken
-- wake(waiter)            ends the sleep of whoever sleeps with this waiter, later than in this
--                         call; nobody does: nothing happens, and nothing is kept of it
-- now() -> seconds
-- alive(handle | nil) -> boolean   the coroutine has not ended; nil: what runs now is one of the
--                         loop's. May be absent: each is then
-- cancel(handle)          may be absent: ends the coroutine for certain
-- on_exit(f)              may be absent: f() is called once, when the loop ends
-- marker                  may be absent, any value: what the loop's own waits yield first
--
-- A waiter is a table that strand has made, for one that sleeps; the adapter may keep in it what
-- it needs. Where the adapter itself resumes a coroutine, waiter.failed(problem) takes the error
-- that ended it.

local schema = require "strand.schema"

local adapter = {}

local NEEDED = { "spawn", "wait_readable", "wake", "sleep", "now" }
local OPTIONAL = { "alive", "cancel", "on_exit" }

local KNOWN = { marker = true }
for _, list in ipairs { NEEDED, OPTIONAL } do
  for _, name in ipairs(list) do KNOWN[name] = true end
end

local function refuse_unknown(given)
  for name in pairs(given) do
    if not KNOWN[name] then
      schema.raise(("adapter: unknown field '%s'"):format(schema.shown(name)))
    end
  end
end

local function check_function(given, name, may_be_absent)
  local value = given[name]
  if value == nil and may_be_absent then return end
  if type(value) == "function" then return end
  schema.raise(("adapter: field '%s': function expected, got %s"):format(name,
    schema.describe(value)))
end

-- -> a copy: what is changed in the table later changes nothing. Raises.
function adapter.check(given)
  if type(given) ~= "table" then
    schema.raise("adapter: table expected, got " .. schema.describe(given))
  end
  for _, name in ipairs(NEEDED) do check_function(given, name, false) end
  for _, name in ipairs(OPTIONAL) do check_function(given, name, true) end
  refuse_unknown(given)
  local checked = {}
  for name in pairs(KNOWN) do checked[name] = given[name] end
  return checked
end

-- Whom a loop that resumes by itself is to resume in place of a coroutine that waits: the one
-- around it, which hands on what is yielded. Weak, by the inner one.
adapter.outer = setmetatable({}, { __mode = "k" })

-- -> the coroutine to resume for the one that runs
function adapter.running()
  local thread = coroutine.running()
  return adapter.outer[thread] or thread
end

-- May this yield? -----------------------------------------------------------

-- How many calls of C fit above this one: in a coroutine of Lua 5.1 that is the same wherever it
-- could yield, and less below a call of C.
local function room()
  local count = 0
  local function deeper()
    count = count + 1
    pcall(deeper)
  end
  pcall(deeper)
  return count
end

local most_room

local function has_all_room()
  if not most_room then
    local thread = coroutine.create(function() most_room = room() end)
    coroutine.resume(thread)
  end
  return room() == most_room
end

-- Functions of C that may be yielded across.
local PASSED = _VERSION == "Lua 5.2" and { [pcall] = true, [xpcall] = true } or {}

-- -> true, false, or nil: not to be told from it
local function verdict_on(frame, is_last)
  if frame.what == "C" then return PASSED[frame.func] or false end
  if frame.what == "tail" then return nil end
  if frame.name == "(for generator)" then return false end
  return (frame.name or is_last) and true or nil
end

-- Of Lua 5.1 and 5.2, which do not say it: the frames tell, but for a function without a name,
-- which may be a metamethod.
local function frames_let_yield()
  if coroutine.running() == nil then return false end
  local unsure, level = false, 2
  local frame = debug.getinfo(level, "Snf")
  while frame do
    local above = debug.getinfo(level + 1, "Snf")
    local verdict = verdict_on(frame, above == nil)
    if verdict == false then return false end
    unsure = unsure or verdict == nil
    level, frame = level + 1, above
  end
  return not unsure or has_all_room()
end

local function main_or_frames()
  local _, is_main = coroutine.running()
  return not is_main and frames_let_yield()
end

-- () -> whether the running coroutine can yield here
adapter.can_yield = coroutine.isyieldable or main_or_frames

-- PUC 5.1 alone cannot yield across pcall.
adapter.yields_across_pcall = (function()
  local thread = coroutine.create(function() pcall(coroutine.yield) end)
  coroutine.resume(thread)
  return coroutine.status(thread) == "suspended"
end)()

return adapter
