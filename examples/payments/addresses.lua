-- addresses.lua: where customers live, as a service tells it that is slow, and
-- fails now and then

local core = require "strand.core"

local FAILING = 0.05                   -- of the calls
local SHORTEST, LONGEST = 0.004, 0.016 -- seconds

local addresses = {}

function addresses.find(customer)
  core.wait({}, SHORTEST + math.random() * (LONGEST - SHORTEST))
  if math.random() < FAILING then error("no address of " .. customer .. ": no answer", 0) end
  return "Street of " .. customer
end

return addresses
