-- How long was this record on its way?
local probe = require "probe"

return function(record) probe.note(record.value) end
