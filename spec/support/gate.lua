-- Gates that hold handlers: files in a folder. spec/support/fixture.lua opens
-- them all at a spec's end.
local system = require "system"

local gate = {}

local LONGEST = 60 -- seconds at a gate: a spec that failed must not hang

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

--- Takes so long. Where handlers are coroutines the others go on: they have one thread.
function gate.sleep(context, seconds)
  if context.worker == 0 or package.loaded["strand.async"] then return context:sleep(seconds) end
  system.sleep(seconds)
end

--- Returns when the folder has a file of that name, or one called "all".
function gate.wait(context, folder, name)
  local deadline = system.monotime() + LONGEST
  while not exists(folder .. "/" .. name) and not exists(folder .. "/all") do
    if system.monotime() > deadline then error("nobody opened gate " .. name) end
    gate.sleep(context, 0.002)
  end
end

return gate
