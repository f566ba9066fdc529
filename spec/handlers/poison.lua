-- A handler that does what its record's header "do" says, with the header
-- "why" as the reason: raise, return, ask, park; none: the record is done.
-- "gate": the folder that handler_args name is asked for a file "open" first.
local system = require "system"

local LONGEST = 60 -- seconds at the gate: a spec that failed must not hang

local folder

local function wait_open()
  local deadline = system.monotime() + LONGEST
  repeat
    local file = io.open(folder .. "/open")
    if file then return file:close() end
    system.sleep(0.005)
  until system.monotime() > deadline
end

local ends = {
  raise = function(_, why) error(why, 0) end,
  ["return"] = function(_, why) return nil, why end,
  ask = function(context, why) return context:dead_letter(why) end,
  park = function(context, why) return context:park(why) end,
  gate = wait_open,
}

return {
  setup = function(args) folder = args end,
  handle = function(record, context)
    local act = ends[record:header "do"]
    local why = record:header "why"
    local times = why and why:match "^(%d+) times r$"
    if act then return act(context, times and ("r"):rep(tonumber(times)) or why) end
  end,
}
