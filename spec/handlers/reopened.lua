-- A worker whose state breaks, cannot be opened again at first, and then takes
-- its time: the deadline of the record that waits for it passes before its
-- handler begins.
local system = require "system"

local chunk, hoard = ("x"):rep(65536), {}

local function opened(folder)
  local file = assert(io.open(folder .. "/opened", "a+"))
  local times = #file:read "*a" + 1
  file:write "x"
  file:close()
  return times
end

return {
  setup = function(args)
    local times, until_ = opened(args.folder), system.monotime() + 1
    if times == 2 then error "not yet" end
    while times == 3 and system.monotime() < until_ do end -- luacheck: ignore 542
  end,
  handle = function(record)
    if record.attempt > 1 then return end
    while record.value == "hoard" do hoard[#hoard + 1] = chunk .. #hoard end
    while record.value == "spin" do end -- luacheck: ignore 542
  end,
}
