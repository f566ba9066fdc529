-- Waits, as a handler does that asks a database.
local probe = require "probe"

return function() probe.sleep(0.002) end
