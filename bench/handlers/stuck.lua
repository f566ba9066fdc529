-- latency.lua, and one record takes ten seconds.
local probe = require "probe"

return function(record)
  probe.note(record.value)
  if record.key == "stuck" then probe.sleep(10) end
end
