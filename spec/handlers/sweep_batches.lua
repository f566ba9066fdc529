-- For spec/support/sweep.lua: marks each record as failed in its first attempt,
-- and writes down its offset in a later one. Where memory runs out it raises,
-- or it catches that in a mark, and returns as if all were well.
local path
local reason = ("x"):rep(5000) -- longer than is kept: so it is copied

local function note(record)
  local file = assert(io.open(path, "ab"))
  assert(file:write(("%d\n"):format(record.offset)))
  file:close()
end

return {
  setup = function(args) path = args.path end,
  handle_batch = function(batch)
    for i, record in ipairs(batch) do
      if record.attempt > 1 then note(record)
      else pcall(batch.fail, batch, i, reason) end
    end
  end,
}
