-- A real nginx with ngx_lua (Debian's), in a folder of its own, on loopback:
-- what a spec gives of its configuration, driven over HTTP.
--
--   local server = nginx.start { workers = 2, http = "init_worker_by_lua_block { ... }",
--     server = "location /send { content_by_lua_block { ... } }", words = { TOPIC = topic } }
--   server:get "/send"            -> status, body
--   server:open "/slow"           -> a request that was sent; request:answer() -> status, body
--   server:reload()               until new workers are there; the old ones may still end
--   server:quit(), server:stop()  QUIT or TERM, until it has ended -> seconds
--   server:workers(), server:kill_worker(pid), server:errors()
--   nginx.socket_folder("777")    a folder for socket_dir
--   teardown(nginx.close)         whatever a spec has left is stopped, by its pid
--
-- 'main', 'http' and 'server' are text of those blocks. In all of them BROKER is the broker,
-- FOLDER the server's folder, and each word of 'words', in capitals, what is given for it.
local helper = require "spec.support.helper"
local socket = require "socket"

local nginx = {}

local MODULES = "/usr/lib/nginx/modules/"
local PATIENCE = 60 -- seconds for an answer, and for a server to come or to go

local CONF = [[
load_module MODULESndk_http_module.so;
load_module MODULESngx_http_lua_module.so;
USER
daemon off;
master_process on;
worker_processes WORKERS;
error_log FOLDER/error.log warn;
pid FOLDER/nginx.pid;
%s
events { worker_connections CONNECTIONS; }
http {
  access_log off;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  lua_package_path "LUAPATH";
  lua_package_cpath "LUACPATH";
%s
%s
  server {
    listen 127.0.0.1:PORT;
%s
  }
}
]]

-- Where strand's workers put what they know of themselves.
local DICT = "  lua_shared_dict strand 1m;"

-- ---- its configuration -------------------------------------------------------

-- Each path that is not absolute becomes one.
local function absolute(path, folder)
  return (path:gsub("[^;]+", function(part)
    return part:sub(1, 1) == "/" and part or folder .. "/" .. part
  end))
end

-- Other specs run beside this one, and math.random gives each the same numbers.
local function random()
  local file = assert(io.open("/dev/urandom", "rb"))
  local a, b = file:read(2):byte(1, 2)
  file:close()
  return 256 * a + b
end

-- Below the ports that the kernel gives to clients; nobody listens there.
local function free_port()
  while true do
    local port = 20000 + random() % 12000
    local listener = socket.bind("127.0.0.1", port)
    if listener then
      listener:close()
      return port
    end
  end
end

local function fill(text, words)
  return (text:gsub("%u[%u_]+", words))
end

-- With its group, which need not have the same name. Only root may say who workers are.
local function user_of(name)
  if not helper.output "id -u":match "^0\n" then return "" end
  return ("user %s %s;"):format(name, helper.output("id -gn " .. name):match "%S+")
end

local function conf_of(options, words)
  local conf = CONF:format(options.main or "", options.dict == false and "" or DICT,
    options.http or "", options.server or "")
  return fill(fill(conf, options.words or {}), words)
end

-- ---- its processes -----------------------------------------------------------

local methods = {}
methods.__index = methods

local started, folders = {}, {}

local function children(pid)
  local list = {}
  local text = helper.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  for child in text:gmatch "%d+" do list[#list + 1] = tonumber(child) end
  return list
end

local function signal(name, pid)
  return os.execute(("kill -%s %d 2> /dev/null"):format(name, pid))
end

local function is_alive(pid)
  local stat = helper.read(("/proc/%d/stat"):format(pid))
  return stat ~= nil and not stat:match "%) Z"
end

--- Pids of its workers: those that serve, or with 'ending' those that have been told to end.
function methods:workers(ending)
  local title = ending and "^nginx: worker process is shutting down" or "^nginx: worker process%f[^%w ]"
  local list = {}
  for _, pid in ipairs(children(self.pid)) do
    local name = helper.read(("/proc/%d/cmdline"):format(pid)) or ""
    if name:match(title) then list[#list + 1] = pid end
  end
  table.sort(list)
  return list
end

--- How many descriptors its workers have open.
function methods:descriptors()
  local count = 0
  for _, pid in ipairs(self:workers()) do
    count = count + select(2, helper.output("ls /proc/" .. pid .. "/fd"):gsub("\n", ""))
  end
  return count
end

--- Its exit status, or nil while it runs.
function methods:status()
  return tonumber(helper.read(self.folder .. "/status"))
end

--- What stands in its error.log: at level warn and above, so that it is empty where all is well.
function methods:errors()
  return helper.read(self.folder .. "/error.log") or ""
end

local function fail(self, why, level)
  error(("nginx: %s\noutput: %s\nerror.log: %s"):format(why, helper.read(self.folder .. "/out") or "",
    self:errors()), level + 1)
end

--- Waits until condition() is true; fails with what nginx has said.
function methods:await(what, condition, limit)
  local ok, value = pcall(helper.eventually, limit or PATIENCE, function()
    return condition() or self:status() and "ended"
  end)
  if not ok then fail(self, what .. ": " .. tostring(value), 2) end
  if value == "ended" and not condition() then fail(self, what .. ": it has ended", 2) end
  return value
end

local function serves(self)
  local list = self:workers()
  return #list == self.count and list
end

--- Waits until all of its workers are there, and none of 'before' -> their pids
function methods:await_workers(before)
  local old = {}
  for _, pid in ipairs(before or {}) do old[pid] = true end
  return self:await("its workers", function()
    local list = serves(self)
    for _, pid in ipairs(list or {}) do if old[pid] then return false end end
    return list
  end)
end

--- Until new workers serve; those from before may still be ending. -> their pids
function methods:reload()
  local before = self:workers()
  signal("HUP", self.pid)
  self:await_workers(before)
  return before
end

--- Waits until these processes have ended.
function methods:await_gone(pids, limit)
  return self:await("the end of workers", function()
    for _, pid in ipairs(pids) do if is_alive(pid) then return false end end
    return true
  end, limit)
end

--- SIGKILL for one worker, in whose place another one comes. -> pids of the workers then
function methods:kill_worker(pid)
  signal("KILL", pid)
  self:await_gone { pid }
  return self:await_workers { pid }
end

local function ended_by(self, name, limit)
  local seconds = helper.seconds(function()
    signal(name, self.pid)
    local ok = pcall(helper.eventually, limit or PATIENCE, function() return self:status() end)
    if not ok then fail(self, "it does not end", 4) end
  end)
  return seconds
end

--- Gracefully: workers serve what they have, and end. -> seconds
function methods:quit(limit) return ended_by(self, "QUIT", limit) end

--- Fast: workers end at once, and the master kills those that have not after 3 s. -> seconds
function methods:stop(limit) return ended_by(self, "TERM", limit) end

-- ---- HTTP ----------------------------------------------------------------------

local request = {}
request.__index = request

--- Waits for the answer. -> status, body
function request:answer(limit)
  self.socket:settimeout(limit or PATIENCE)
  local text, problem, part = self.socket:receive "*a"
  self.socket:close()
  text = text or part
  local status, body = text:match "^HTTP/1%.%d (%d+).-\r\n\r\n(.*)$"
  if not status then fail(self.server, ("%s: %s"):format(self.path, problem or "no answer"), 2) end
  return tonumber(status), body
end

--- Whether (something of) the answer has come; waits at most so long for it.
function request:is_answered(seconds)
  return #socket.select({ self.socket }, nil, seconds or 0) > 0
end

--- A request that is not waited for, on a connection of its own.
function methods:open(path)
  local connection = assert(socket.connect("127.0.0.1", self.port))
  assert(connection:send(("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n"):format(path)))
  return setmetatable({ socket = connection, server = self, path = path }, request)
end

--- -> status, body
function methods:get(path, limit)
  return self:open(path):answer(limit)
end

--- The same, which must be 200. -> body
function methods:ask(path, limit)
  local status, body = self:get(path, limit)
  if status ~= 200 then fail(self, ("%s: %d\n%s"):format(path, status, body), 2) end
  return body
end

-- ---- its life --------------------------------------------------------------------

local function launch(self)
  assert(os.execute(([[(
    ENVIRONMENT nginx -p FOLDER -e FOLDER/error.log -c FOLDER/nginx.conf < /dev/null > FOLDER/out 2>&1 &
    echo $! > FOLDER/pid.new; mv FOLDER/pid.new FOLDER/pid
    wait $!; echo $? > FOLDER/status.new; mv FOLDER/status.new FOLDER/status
  ) 2> /dev/null &]]):gsub("ENVIRONMENT", self.environment):gsub("FOLDER", self.folder)))
  self.pid = tonumber(helper.eventually(10, function() return helper.read(self.folder .. "/pid") end))
end

--- 'options': workers (1), connections (1024), main, http, server, words; environment ("NAME=value ...");
--- dict = false: without lua_shared_dict strand; user: of the workers, where this is root.
function nginx.start(options)
  assert(rawget(_G, "jit"), "nginx's Lua is LuaJIT: scripts/busted luajit2 ...")
  assert(helper.read(MODULES .. "ngx_http_lua_module.so"),
    "nginx or its Lua module is missing: run scripts/deps test")
  local project = helper.output "pwd":match "[^\n]+"
  local self = setmetatable({ folder = project .. "/" .. helper.folder(), port = free_port(),
    count = options.workers or 1, environment = options.environment or "" }, methods)
  helper.write(self.folder .. "/nginx.conf", conf_of(options, {
    FOLDER = self.folder, PORT = self.port, WORKERS = self.count, MODULES = MODULES,
    CONNECTIONS = options.connections or 1024, BROKER = helper.bootstrap(),
    LUAPATH = absolute(package.path, project), LUACPATH = absolute(package.cpath, project),
    USER = user_of(options.user or "root"),
  }))
  launch(self)
  started[#started + 1] = self
  self:await_workers()
  return self
end

--- A new, empty folder, of that mode. The path of a Unix socket is short, and the project may lie deep.
function nginx.socket_folder(mode)
  local path = helper.output "mktemp -d":match "[^\n]+"
  folders[#folders + 1] = path
  assert(os.execute(("chmod %s %s"):format(mode, path)))
  return path
end

--- Ends what a spec has left: the master, and workers that have lost it.
function nginx.close()
  for i = #started, 1, -1 do
    local self = started[i]
    started[i] = nil
    if not self:status() then
      local workers = children(self.pid)
      if not pcall(self.stop, self, 10) then
        for _, pid in ipairs(workers) do signal("KILL", pid) end
        signal("KILL", self.pid)
      end
    end
  end
  for i = #folders, 1, -1 do
    os.execute("rm -rf " .. folders[i])
    folders[i] = nil
  end
end

return nginx
