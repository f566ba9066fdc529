-- guard.lua: ngx.exit() in a handler raises
--
-- In a timer it ends the whole context, with all handlers that live in it, without a word. Whoever
-- has kept the function from before gets that one; contexts.lua finds out.

local guard = {}

-- In a timer of ours: it and all light threads of it.
function guard.mark() ngx.ctx.strand_context = true end

local function in_context()
  return ngx.get_phase() == "timer" and ngx.ctx.strand_context == true
end

-- Once in a Lua state.
function guard.install()
  if guard.installed then return end
  guard.installed = true
  local exit = ngx.exit
  ngx.exit = function(...)
    if in_context() then
      error("ngx.exit() in a handler, where it would end those of other records: return or raise", 2)
    end
    return exit(...)
  end
end

return guard
