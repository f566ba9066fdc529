-- The ways to run handlers, for specs that hold in each:
--
--   modes.each(describe, "close", function(mode)
--     setup(function() fixture.open(mode) end)
--
-- After that fixture.consumer makes consumers of that way, with as many handlers
-- at once as the spec has 'workers'.
--
-- modes.chosen()[name] says whether a way is run, for specs with a table of their own.
-- STRAND_WAYS names those that are run, of "threads local async"; absent: all.
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

-- In coroutines of a loop in one worker, whose thread a handler keeps that does not wait in the loop:
-- so handlers wait by context:sleep here too.
local in_loop = { name = "async", title = "in an async worker", is_local = false,
  coroutines = true }
function in_loop.change(options)
  options.max_in_flight = options.max_in_flight or options.workers
  options.max_ready = options.max_ready or 64 * options.workers
  options.workers, options.loop = 1, "cqueues"
end

modes.threads = threads

local ways = { threads, in_state }
-- In one Lua: the others have spec/async_spec.lua and spec/loops_spec.lua.
if _VERSION == "Lua 5.4" and pcall(require, "cqueues") then ways[#ways + 1] = in_loop end

local names = { threads = true, ["local"] = true, async = true }

function modes.chosen()
  local list, found = os.getenv "STRAND_WAYS", {}
  if not list then return names end
  for name in list:gmatch "%S+" do
    assert(names[name], ("STRAND_WAYS: no way '%s'"):format(name))
    found[name] = true
  end
  assert(next(found), "STRAND_WAYS names no way")
  return found
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
