-- Opens what its arguments say: in each call, or ten in setup and one in the
-- first call.
local strand = require "strand"

local args, kept

local function open()
  return assert(strand[args.what] { kafka = { ["bootstrap.servers"] = args.servers },
    log = function() end })
end

return {
  setup = function(given)
    args = given
    if args.once then for _ = 1, 10 do open():close() end end
  end,
  handle = function()
    if not args.once then open():close()
    elseif not kept then kept = open() end
  end,
  teardown = function()
    if kept then kept:close() end
  end,
}
