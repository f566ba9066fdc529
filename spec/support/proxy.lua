-- A TCP proxy before a broker, in a process of its own, by cqueues: it holds answers back, loses
-- them, or is not there. For a broker that tells its clients the proxy's address
-- (advertised.listeners).
--
--   local proxy = require "spec.support.proxy".start()
--   proxy.port                       where clients connect
--   proxy:tell("to", port)           where the broker is
--   proxy:tell "hold"                answers wait; "release"
--   proxy:tell "cut"                 the answer to the next request that has records is lost, and with
--                                    it its connection; "await_cut" returns then
--   proxy:tell "away"                connections end, and new ones are refused; "back"
--
-- The process ends with helper.end_children().
local helper = require "spec.support.helper"
local socket = require "socket"

local proxy = {}
proxy.__index = proxy

local PATIENCE = 60 -- seconds for an answer to a command
local LARGE = 1000 -- bytes: a request with records, and not one for metadata

-- ---- the process ---------------------------------------------------------------

local function new_state()
  return { open = {}, condition = require "cqueues.condition".new(), held = false, cut = false,
    away = false, target = nil }
end

local function drop(self, pair)
  if not self.open[pair] then return end
  self.open[pair] = nil
  pair.client:shutdown "rw"
  pair.broker:shutdown "rw"
end

-- 'pass(data)' says whether it goes on; it may wait.
local function relay(self, pair, from, to, pass)
  while true do
    local data = from:read(-65536)
    if not data or not pass(self, pair, data) or not self.open[pair] then break end
    if not to:write(data) then break end
  end
  drop(self, pair)
end

-- 'cut': false, "armed", or the pair whose answer is to be lost.
local function pass_request(self, pair, data)
  if self.cut == "armed" and #data >= LARGE then self.cut = pair end
  return true
end

local function pass_answer(self, pair)
  while self.held do self.condition:wait() end
  if self.cut ~= pair then return true end
  self.cut = false
  self.condition:signal()
  return false
end

local function serve(self, controller, client)
  if self.away then return client:close() end
  local broker = assert(require "cqueues.socket".connect("127.0.0.1", self.target))
  local pair = { client = client, broker = broker }
  for _, one in pairs(pair) do
    one:setmode("bn", "bn")
    one:onerror(function(_, _, code) return code end)
  end
  self.open[pair] = true
  controller:wrap(function() relay(self, pair, client, broker, pass_request) end)
  relay(self, pair, broker, client, pass_answer)
end

local COMMANDS = {}

function COMMANDS.to(self, port) self.target = tonumber(port) end
function COMMANDS.hold(self) self.held = true end
function COMMANDS.back(self) self.away = false end

function COMMANDS.release(self)
  self.held = false
  self.condition:signal()
end

function COMMANDS.cut(self) self.cut = "armed" end

function COMMANDS.await_cut(self)
  while self.cut do self.condition:wait() end
end

function COMMANDS.away(self)
  self.away = true
  for pair in pairs(self.open) do drop(self, pair) end
end

local function obey(self, connection)
  connection:setmode("t", "bn")
  while true do
    local line = connection:read "*l"
    if not line then return end
    local name, argument = line:match "^([%l_]+) ?(%d*)"
    COMMANDS[name](self, argument)
    connection:write "ok\n"
  end
end

local function listen()
  local listener = require "cqueues.socket".listen { host = "127.0.0.1", port = 0, listen = 256 }
  assert(listener:listen())
  local _, _, port = listener:localname()
  return listener, port
end

--- Prints "ports PORT CONTROL", and serves until it is ended.
function proxy.main()
  local controller, self = require "cqueues".new(), new_state()
  local clients, port = listen()
  local commands, control = listen()
  print(("ports %d %d"):format(port, control))
  io.flush()
  for listener, f in pairs { [clients] = serve, [commands] = function(s, _, c) obey(s, c) end } do
    controller:wrap(function()
      while true do
        local connection = assert(listener:accept())
        controller:wrap(function() f(self, controller, connection) end)
      end
    end)
  end
  assert(controller:loop())
end

-- ---- its user ------------------------------------------------------------------

function proxy.start()
  local child = helper.spawn [[require "spec.support.proxy".main()]]
  child:says "ports "
  local port, control = child:output():match "ports (%d+) (%d+)"
  local connection = assert(socket.connect("127.0.0.1", tonumber(control)))
  connection:settimeout(PATIENCE)
  return setmetatable({ port = tonumber(port), control = connection }, proxy)
end

--- Gives a command; returns when it is done.
function proxy:tell(command, argument)
  assert(self.control:send(("%s %s\n"):format(command, argument or "")))
  assert(self.control:receive "*l" == "ok", "the proxy has ended")
end

return proxy
