-- Handlers that take their time: the value of a record says which of these it
-- meets at its first attempt; the second is done at once. They keep a journal
-- that spec/support/fixture.lua reads.
--
-- Loops of LuaJIT are interpreted, but where the arguments say otherwise.
local gate = require "spec.support.gate"
local system = require "system"

local folder, journal

local function note(what, record, context, time)
  journal:write(table.concat({ what, record.topic, record.partition, record.offset,
    record.attempt, context.worker, ("%.6f"):format(time or system.gettime()),
    record.key and "=" .. record.key or "" }, "\t"), "\n")
  journal:flush()
end

local cases = {}

function cases.spin() while true do end end

function cases.pcall()
  local function spin() while true do end end
  while true do pcall(spin) end
end

cases["pcall of pcall"] = function()
  while true do pcall(pcall, cases.pcall) end
end

cases["error handler"] = function()
  local function spin() while true do end end
  while true do xpcall(spin, function() return "caught" end) end
end

function cases.wrap() coroutine.wrap(cases.spin)() end

function cases.resume()
  local co = coroutine.create(function() while true do coroutine.yield() end end)
  while coroutine.resume(co) do end
end

-- Each level is caught in a coroutine of its own.
cases["coroutine in coroutine"] = function()
  while true do
    coroutine.resume(coroutine.create(function()
      while true do pcall(coroutine.wrap(cases.pcall)) end
    end))
  end
end

-- One that goes on in the next attempt, with the hook that it was given.
local kept = coroutine.create(function()
  while true do
    local n = 0
    for _ = 1, 1000 do n = n + 1 end
    coroutine.yield(n)
  end
end)
cases["kept coroutine"] = function()
  while true do coroutine.resume(kept) end
end

cases["own hook"] = function()
  debug.sethook(function() end, "", 100)
  while true do end
end

-- Until there is a file "go"; where it is compiled, no hook ends it.
function cases.loop()
  local path, ffi = folder .. "/go", jit and require "ffi"
  if not ffi then while true do end end
  ffi.cdef "int access (const char *path, int mode);"
  repeat until ffi.C.access(path, 0) == 0
end

function cases.fifo(_, name) io.open(folder .. "/" .. name):close() end

function cases.wait(context, name)
  gate.wait(context, folder, name)
end

-- Of a hook of its own it must see nothing missing.
cases["wait hooked"] = function(context, name)
  local calls = 0
  debug.sethook(function() calls = calls + 1 end, "", 100)
  cases.wait(context, name)
  local before, n = calls, 0
  for _ = 1, 1000 do n = n + 1 end
  local _, mask, count = debug.gethook()
  debug.sethook()
  assert(mask == "" and count == 100 and calls > before, "the handler's own hook is gone")
end

function cases.take(_, seconds)
  local over = system.monotime() + tonumber(seconds)
  repeat until system.monotime() > over
end

local again = {}

again["kept coroutine"] = function()
  local ok, n = coroutine.resume(kept)
  assert(ok or n:match "deadline" or n:match "dead coroutine", n)
end

return {
  setup = function(args)
    folder = args.folder
    if jit and not args.compiled then jit.off() end
    journal = assert(io.open(folder .. "/journal", "a"))
    journal:setvbuf("full", 4096)
  end,
  handle = function(record, context)
    local name, argument = (record.value or ""):match "^([^:]*):?(.*)$"
    -- Read in this order, a pause between makes it due earlier, never later;
    -- what is due already was so at a time that nobody can tell.
    local now, left = system.gettime(), context:remaining()
    note("enter", record, context)
    if left and left > 0 then note("due", record, context, now + left) end
    local list = record.attempt == 1 and cases or again
    if list[name] then list[name](context, argument) end
    note("leave", record, context)
  end,
}
