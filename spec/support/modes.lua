-- The ways to run handlers, for specs that hold in each:
--
--   modes.each(describe, "close", function(mode)
--     setup(function() fixture.open(mode) end)
--
-- After that fixture.consumer makes consumers of that way, with as many handlers
-- at once as the spec has 'workers'.
--
-- modes.chosen()[name] says whether a way is run, for specs with a table of their own.
-- STRAND_WAYS names those that are run, of "threads local async cqueues luv plain"; absent: the
-- first three. The last three are local mode in an event loop (spec/support/in_loop.lua).
local in_loop = require "spec.support.in_loop"
local loops = require "spec.support.loops"

local modes = {}

local threads = { name = "threads", title = "in worker threads", is_local = false,
  coroutines = false }
function threads.change() end

-- In the spec's own state: helper.eventually serves them.
local in_state = { name = "local", title = "in local mode", is_local = true, coroutines = true }
function in_state.change(options)
  options.max_in_flight = options.max_in_flight or options.workers
  options.max_ready = options.max_ready or 64 * options.workers
  options.workers = 0
end

-- The same in coroutines of an event loop of the spec's. 'collects': who yields for nobody is found
-- when it is collected.
local function under(name)
  local loop
  local way = { name = name, title = "in local mode in the loop of " .. name, is_local = true,
    coroutines = true, change = in_state.change, collects = name ~= "cqueues" }
  function way.open() loop = loops.of(name) end
  function way.wrap(consumer) return in_loop.wrap(consumer, loop) end
  function way.close() loop.close() end
  return way
end

-- In coroutines of a loop in one worker, whose thread a handler keeps that does not wait in the loop:
-- so handlers wait by context:sleep here too.
local in_worker = { name = "async", title = "in an async worker", is_local = false,
  coroutines = true }
function in_worker.change(options)
  options.max_in_flight = options.max_in_flight or options.workers
  options.max_ready = options.max_ready or 64 * options.workers
  options.workers, options.loop = 1, "cqueues"
end

modes.threads = threads

local ways = { threads, in_state, under "cqueues", under "luv", under "plain" }
-- In one Lua: the others have spec/async_spec.lua and spec/loops_spec.lua.
if _VERSION == "Lua 5.4" and pcall(require, "cqueues") then ways[#ways + 1] = in_worker end

local names = { threads = true, ["local"] = true, async = true, cqueues = true, luv = true,
  plain = true }

--- 'default': those of a spec without STRAND_WAYS, if it has others than most.
function modes.chosen(default)
  local list, found = os.getenv "STRAND_WAYS" or default or "threads local async", {}
  for name in list:gmatch "%S+" do
    assert(names[name], ("STRAND_WAYS: no way '%s'"):format(name))
    found[name] = true
  end
  assert(next(found), "STRAND_WAYS names no way")
  return found
end

--- The way of this name.
function modes.of(name)
  for _, mode in ipairs(ways) do
    if mode.name == name then return mode end
  end
end

function modes.each(describe, title, body)
  local wanted = modes.chosen()
  for _, mode in ipairs(ways) do
    if wanted[mode.name] then
      describe(title .. " " .. mode.title, function() body(mode) end)
    end
  end
end

return modes
