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
-- strand's own for nginx has more: serve(body), for the coroutine that serves the object; tell(fd) ->
-- whether wait_readable(fd) returns soon, after others had their turn; calm(),
-- after a handler has raised; and spawn takes leave(problem) (bodies.lua), since nginx may end
-- coroutines. So cancel is called there alone.
--
-- A waiter is a table that strand has made, for one that sleeps; the adapter may keep in it what
-- it needs. Where the adapter itself resumes a coroutine, waiter.failed(problem) takes the error
-- that ended it.

local core = require "strand.core"
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

-- A fault of the adapter's, as an event of the object that its loop serves.
function adapter.tell(object, reason)
  object.dispatcher:tell { type = "error", time = os.time(), code = "ADAPTER",
    reason = "the event loop's adapter: " .. reason }
end

-- Whom a loop that resumes by itself is to resume in place of a coroutine that waits: the one
-- around it, which hands on what is yielded. The inner one keeps it, not this table: Lua 5.1 would
-- never collect the two.
adapter.outer = setmetatable({}, { __mode = "kv" })

-- -> the coroutine to resume for the one that runs
function adapter.running()
  local thread = coroutine.running()
  return adapter.outer[thread] or thread
end

-- May this yield? -----------------------------------------------------------

-- Of Lua 5.2, which does not say it: no function of C can be yielded across but these.
local PASSED = { [pcall] = true, [xpcall] = true }

local function frames_let_yield()
  local _, is_main = coroutine.running()
  if is_main ~= false then return false end
  local level = 2
  local frame = debug.getinfo(level, "Sf")
  while frame do
    if frame.what == "C" and not PASSED[frame.func] then return false end
    level = level + 1
    frame = debug.getinfo(level, "Sf")
  end
  return true
end

-- () -> whether the running coroutine can yield here. Of Lua 5.1 C says it, and of LuaJIT in nginx,
-- where 'coroutine' is another table.
adapter.can_yield = coroutine.isyieldable or core.can_yield or frames_let_yield

-- PUC 5.1 alone cannot yield across pcall. (Not tried out: nginx lets no coroutine be made in
-- init_worker_by_lua.)
adapter.yields_across_pcall = _VERSION ~= "Lua 5.1" or package.loaded.jit ~= nil

return adapter
