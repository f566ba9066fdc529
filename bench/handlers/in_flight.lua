-- Waits as a user of the worker's event loop does: 'args' is { loop, seconds }. Of those that wait
-- for ever each is counted when it begins, and the last of them has what is garbage collected.
local loop, probe = nil, require "probe"
local seconds, waiting

local function handle()
  if waiting and probe.ended() == waiting then
    collectgarbage()
    collectgarbage()
    probe.count()
  end
  if seconds > 0 then loop.sleep(seconds) end
  if not waiting then probe.ended() end
end

return {
  setup = function(args)
    loop = require "loops"[args.loop]
    seconds, waiting = args.seconds, args.waiting
  end,
  handle = handle,
}
