-- The ways to run handlers, for specs that hold in each:
--
--   modes.each(describe, "close", function(mode)
--     setup(function() fixture.open(mode) end)
--
-- After that fixture.consumer makes consumers of that way, with as many handlers
-- at once as the spec has 'workers'.
local modes = {}

local threads = { title = "in worker threads", is_local = false }
function threads.change() end

-- In the spec's own state: helper.eventually serves them.
local in_state = { title = "in local mode", is_local = true }
function in_state.change(options)
  options.max_in_flight = options.max_in_flight or options.workers
  options.max_ready = options.max_ready or 64 * options.workers
  options.workers = 0
end

modes.threads = threads

function modes.each(describe, title, body)
  for _, mode in ipairs { threads, in_state } do
    describe(title .. " " .. mode.title, function() body(mode) end)
  end
end

return modes
