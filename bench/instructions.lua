-- instructions.lua: what callgrind counted, by whose thread it was
--
--   instructions.lua FILES      one a thread (--separate-threads=yes)
--
-- Prints "instructions N", those of the worker threads, "owner N", those of the
-- owner's, and "owner_strand N", of these strand's own: without librdkafka's
-- and libc's, which depend on how often it is called to find nothing.

local RUNS = { run_worker = "instructions", run_owner = "owner" }
local counted = {}

local function add(name, cost) counted[name] = (counted[name] or 0) + cost end

-- Names stand beside their numbers once, and then the numbers alone. The line
-- behind a call is what was called: that stands under its own function.
local function read(path)
  local objects, whose, all, own = {}, nil, 0, 0
  local ours, called = false, false
  for line in io.lines(path) do
    local callee, object, file = line:match "^(c?)ob=(%(%d+%))%s*(.*)"
    local cost = line:match "^[%d+*-].* (%d+)$"
    if object and file ~= "" then objects[object] = file end
    if object and callee == "" then
      ours = objects[object]:find("strand/core.so", 1, true) ~= nil
    elseif cost and not called then
      all = all + cost
      if ours then own = own + cost end
    end
    whose = whose or RUNS[line:match "^c?fn=%(%d+%) ([%w_]+)$" or ""]
    called = line:find "^calls=" ~= nil
  end
  if not whose then return end
  add(whose, all)
  if whose == "owner" then add("owner_strand", own) end
end

for _, path in ipairs(arg) do read(path) end
for _, name in ipairs { "instructions", "owner", "owner_strand" } do
  assert((counted[name] or 0) > 0, "nothing was counted: " .. name)
  print(("%s %d"):format(name, counted[name]))
end
