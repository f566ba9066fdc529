-- Its setup takes handler_args seconds, in C.
local system = require "system"

return {
  setup = function(seconds) system.sleep(seconds) end,
  handle = function() end,
}
