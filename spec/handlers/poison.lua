-- A handler that does what its record's header "do" says, with the header
-- "why" as the reason: raise, return, ask, park; none: the record is done.
-- "gate": the folder that handler_args name is asked for a file "open" first.
local gate = require "spec.support.gate"

local ends = {
  raise = function(_, why) error(why, 0) end,
  ["return"] = function(_, why) return nil, why end,
  ask = function(context, why) return context:dead_letter(why) end,
  park = function(context, why) return context:park(why) end,
  gate = function(context) gate.wait(context, context.args, "open") end,
}

return function(record, context)
  local act = ends[record:header "do"]
  local why = record:header "why"
  local times = why and why:match "^(%d+) times r$"
  if act then return act(context, times and ("r"):rep(tonumber(times)) or why) end
end
