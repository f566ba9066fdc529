-- ending.lua: what is still open when a worker of nginx ends
--
--   exit_worker_by_lua_block { require("strand.loop.resty").exit() }
--
-- nginx runs it on quit, on reload and at a stop, where it kills soon (nginx.lua): all objects
-- together have what nginx.count_down says. They end side by side: each step is made for all of them
-- before the next one.

local dispatcher = require "strand.dispatcher"
local nginx = require "strand.nginx"
local schema = require "strand.schema"

local ending = {}

-- Of 'serving': step(object, seconds that are left). Only the last has to be there.
--   hasten    begins what goes on by itself      settle   waits for it, as long as there is time
--   let_go    begins to give up the rest         on_exit  closes, and says what was left
local STEPS = { "hasten", "settle", "let_go", "on_exit" }

local function serving_of(object)
  return getmetatable(object).serving
end

-- As pcall, and what is raised goes to the object's log.
local function try(object, f, ...)
  local ok, problem = pcall(f, ...)
  if ok then return end
  pcall(dispatcher.log, object.dispatcher, 3, "nginx", "error at the end of the worker: "
    .. tostring(problem))
end

-- Of this worker: those that somebody has opened, and that are not closed. What an object with a
-- log alone has is over with it.
local function still_open()
  local list = {}
  for _, object in ipairs(nginx.opened()) do
    local state = serving_of(object) and object.core:state() or "closed"
    if state ~= "closed" and state ~= "forked" then list[#list + 1] = object end
  end
  return list
end

-- Closes all of them. Waits, and may: nothing else is served any more. Elsewhere it raises.
function ending.exit()
  if nginx.phase() ~= "exit_worker" then
    schema.raise "exit(): only in exit_worker_by_lua"
  end
  local list = still_open()
  for _, name in ipairs(STEPS) do
    for _, object in ipairs(list) do
      local step = serving_of(object)[name]
      if step then try(object, step, object, nginx.count_down()) end
    end
  end
  nginx.await_others()
end

return ending
