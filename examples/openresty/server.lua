-- server.lua: an nginx in a folder of its own, on a free port of loopback

local socket = require "socket"

local server = {}
server.__index = server

local LIMIT = 60 -- seconds to come, and to go

local function read(name)
  local file = io.open(name)
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

local function write(name, text)
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- Below the ports that the kernel gives to clients.
local function free_port()
  for _ = 1, 100 do
    local port = 20000 + math.random(0, 11999)
    local listener = socket.bind("127.0.0.1", port)
    if listener then
      listener:close()
      return port
    end
  end
  error "no free port"
end

local function listens(port)
  local connection = socket.connect("127.0.0.1", port)
  if connection then connection:close() end
  return connection ~= nil
end

local function await(what, condition)
  local over = socket.gettime() + LIMIT
  repeat
    if condition() then return end
    socket.sleep(0.05)
  until socket.gettime() > over
  error("nginx: " .. what .. " takes longer than " .. LIMIT .. " s", 0)
end

--- Starts it by a copy of 'conf', which listens elsewhere; 'environment' is for the shell.
function server.start(conf, environment)
  local folder, port = output "mktemp -d":match "%S+", free_port()
  local user = output "id -u":match "^0\n" and "user root;\n" or ""
  write(folder .. "/nginx.conf", user .. conf:gsub("127%.0%.0%.1:8080", "127.0.0.1:" .. port))
  local self = setmetatable({ folder = folder, port = port }, server)
  os.execute(("(%s nginx -p %s -e error.log -c nginx.conf -g 'daemon off;' > %s/out 2>&1; touch %s/ended) &")
    :format(environment, folder, folder, folder))
  local ok, problem = pcall(await, "the start", function()
    self.pid = tonumber(read(folder .. "/nginx.pid") or "")
    return self.pid and listens(port) or read(folder .. "/ended")
  end)
  if ok and read(folder .. "/ended") then ok, problem = false, "nginx has ended" end
  if ok then return self end
  problem = ("%s\n%s%s"):format(problem, read(folder .. "/out") or "", self:errors())
  self:quit()
  error(problem, 0)
end

--- What stands in its error.log.
function server:errors() return read(self.folder .. "/error.log") or "" end

function server:signal(name)
  os.execute(("kill -%s %d"):format(name, self.pid))
end

--- -> pids of its workers, in a table { [pid] = true }
function server:workers()
  local pids = {}
  for pid in (read(("/proc/%d/task/%d/children"):format(self.pid, self.pid)) or ""):gmatch "%d+" do
    pids[tonumber(pid)] = true
  end
  return pids
end

--- Waits until none of these is there any more.
function server:await_gone(pids)
  await("the end of its workers", function()
    for pid in pairs(self:workers()) do if pids[pid] then return false end end
    return true
  end)
end

--- Workers end what they have, and then it is gone, with its folder.
function server:quit()
  if self.pid then
    self:signal "QUIT"
    await("the end", function() return read(self.folder .. "/ended") end)
  end
  os.execute("rm -rf " .. self.folder)
end

return server
