-- Handlers of workers that have an event loop: the value of a record says what it does at its first
-- attempt; the second is done at once. They keep a journal that spec/support/fixture.lua reads.
--
-- handler_args: folder, loop ("cqueues" | "luv"), break_setup, raise_setup, yield_setup, break_spawn,
-- break_teardown
local system = require "system"

local folder, journal
local break_teardown
local loop = {} -- sleep(seconds), spawn(f), finish(), stay(): of the loop that runs

local function note(what, record, context)
  journal:write(table.concat({ what, record.topic, record.partition, record.offset, record.attempt,
    context.worker, ("%.6f"):format(system.gettime()), record.key and "=" .. record.key or "" },
    "\t"), "\n")
  journal:flush()
end

local function of_cqueues()
  local cqueues = require "cqueues"
  loop.sleep = cqueues.sleep
  function loop.spawn(f) cqueues.running():wrap(f) end
  -- The next coroutine cannot be made.
  function loop.break_spawn()
    local methods = debug.getmetatable(cqueues.running()).__index
    local wrap = methods.wrap
    function methods.wrap()
      methods.wrap = wrap
      error "no more coroutines"
    end
  end
  -- Nothing that a handler may do closes a controller that runs: so its turns fail from here on.
  function loop.finish()
    debug.getmetatable(cqueues.running()).__index.step = function() return false, "it is broken" end
  end
  function loop.stay() cqueues.sleep(0.01) end
end

-- luv resumes nobody by itself.
local function of_luv()
  local uv = require "luv"
  function loop.spawn(f)
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      timer:close()
      f()
    end)
  end
  function loop.sleep(seconds)
    local timer, co = uv.new_timer(), coroutine.running()
    timer:start(math.ceil(seconds * 1000), 0, function()
      timer:close()
      assert(coroutine.resume(co))
    end)
    coroutine.yield()
  end
  function loop.finish()
    uv.walk(function(handle) if not handle:is_closing() then handle:close() end end)
  end
  loop.stay = coroutine.yield
end

local function is_open(name)
  local file = io.open(folder .. "/" .. name)
  if file then file:close() end
  return file ~= nil
end

local cases = {}

function cases.sleep(_, _, seconds) loop.sleep(tonumber(seconds)) end
function cases.context(_, context, seconds) context:sleep(tonumber(seconds)) end

-- It waits in the loop until somebody opens the gate.
function cases.gate(_, context, name)
  while not (is_open(name) or is_open "all") do context:sleep(0.005) end
end

-- It keeps the whole loop until somebody opens the gate.
function cases.block(_, _, name)
  while not (is_open(name) or is_open "all") do system.sleep(0.002) end
end

function cases.stray(_, context)
  loop.spawn(function() error "nobody waits for this" end)
  context:sleep(0.01)
end

function cases.finish(_, context)
  loop.finish()
  context:sleep(60)
end

function cases.defer(_, context)
  local done = context:defer()
  loop.spawn(function()
    loop.sleep(0.01)
    done(false, "deferred")
  end)
end

local function describe(what, context_worker)
  local file = assert(io.open(folder .. "/lives", "a"))
  file:write(what, " ", context_worker, "\n")
  file:close()
end

local handlers = {}

function handlers.setup(args)
  folder = args.folder
  journal = assert(io.open(folder .. "/journal", "a"))
  journal:setvbuf("full", 4096)
  if args.loop == "cqueues" then of_cqueues() else of_luv() end
  if args.break_setup then loop.finish() end
  if args.break_spawn then loop.break_spawn() end
  if args.yield_setup then coroutine.yield() end
  break_teardown = args.break_teardown
  loop.sleep(0.01)
  if args.raise_setup then error "not today" end
  describe("setup", tostring(coroutine.running() ~= nil))
end

function handlers.teardown()
  if break_teardown then
    describe("torn", "")
    pcall(loop.finish)
    loop.stay()
  end
  loop.sleep(0.01)
  describe("teardown", "")
end

function handlers.handle(record, context)
  note("enter", record, context)
  local name, argument = (record.value or ""):match "^(%S*) ?(.*)$"
  local case = record.attempt == 1 and cases[name]
  if case then case(record, context, argument) end
  note("leave", record, context)
end

return handlers
