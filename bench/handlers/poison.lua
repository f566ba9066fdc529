-- Two milliseconds a record. Poison raises an error: at once, or after them.
local probe = require "probe"

return function(record, context)
  local poison = record.key:sub(1, 6) == "poison"
  if not poison or context.args.slowly then probe.sleep(0.002) end
  if poison then error "poison" end
  probe.count()
end
