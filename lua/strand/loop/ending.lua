-- ending.lua: what is still open when a worker of nginx ends
--
--   exit_worker_by_lua_block { require("strand.loop.resty").exit() }
--
-- nginx runs it on quit, on reload and at a stop, where it kills 3 s later: all objects together
-- have what nginx.count_down says. Those that can be are hastened first: they end side by side.

local dispatcher = require "strand.dispatcher"
local nginx = require "strand.nginx"
local schema = require "strand.schema"

local ending = {}

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
  for _, object in ipairs(list) do
    local hasten = serving_of(object).hasten
    if hasten then try(object, hasten, object) end
  end
  for _, object in ipairs(list) do
    try(object, serving_of(object).on_exit, object, nginx.count_down())
  end
end

return ending
