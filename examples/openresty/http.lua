-- http.lua: many HTTP requests at once, on LuaSocket
--
--   http.run(bodies)          a coroutine for each function; returns when all have ended
--   http.post(port, path, text), http.get(port, path) -> status, body | nil, problem
--
-- In one of these coroutines a request waits by yielding; elsewhere it blocks.

local socket = require "socket"

local http = {}

local TIMEOUT = 30 -- seconds without a byte
local TURN = 1 -- seconds, at most, between two looks at who has waited too long

local waiting = {} -- { [socket] = { thread, until when } }

local function resume(thread, ...)
  local ok, problem = coroutine.resume(thread, ...)
  if not ok then error(debug.traceback(thread, problem), 0) end
end

local function turn()
  local sockets = {}
  for connection in pairs(waiting) do sockets[#sockets + 1] = connection end
  local readable, now = socket.select(sockets, nil, TURN), socket.gettime()
  for _, connection in ipairs(sockets) do
    local waiter = waiting[connection]
    if readable[connection] or now > waiter.over then
      waiting[connection] = nil
      resume(waiter.thread, readable[connection] ~= nil)
    end
  end
end

function http.run(bodies)
  for _, body in ipairs(bodies) do resume(coroutine.create(body)) end
  while next(waiting) do turn() end
end

-- -> whether there is something to read
local function wait(connection, thread)
  waiting[connection] = { thread = thread, over = socket.gettime() + TIMEOUT }
  return coroutine.yield()
end

local function read_all(connection, thread)
  local parts = {}
  connection:settimeout(thread and 0 or TIMEOUT)
  while true do
    local text, problem, part = connection:receive "*a"
    parts[#parts + 1] = text or part
    if text or problem == "closed" then return table.concat(parts) end
    if not thread or not wait(connection, thread) then return nil, problem end
  end
end

local function request(port, text)
  local connection, problem = socket.connect("127.0.0.1", port)
  if not connection then return nil, problem end
  local answer
  answer, problem = connection:send(text)
  local thread, is_main = coroutine.running()
  if answer then answer, problem = read_all(connection, not is_main and thread) end
  connection:close()
  if not answer then return nil, problem end
  local status, body = answer:match "^HTTP/1%.%d (%d+).-\r\n\r\n(.*)$"
  if not status then return nil, "no answer" end
  return tonumber(status), body
end

function http.get(port, path)
  return request(port, ("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n"):format(path))
end

function http.post(port, path, text)
  return request(port, ("POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"):format(
    path, #text, text))
end

return http
