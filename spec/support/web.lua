-- A small HTTP server of cqueues that knows in which order its requests must
-- come: web.main(GATE) prints its port, and serves until it is ended.
--
--   POST /KEY/NUMBER   "ok" after a moment; 409 when this is not the next number
--                      of its key (from 1 on), or one of the key is being served
--   POST /report       "served N most N wrong N"
--
-- Nobody is answered before so many requests (GATE) are open at once.
local web = {}

local LONGEST = 0.01 -- seconds that an answer takes

local function answer(socket, status, body)
  assert(socket:write(("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s"):format(status,
    status == 200 and "OK" or "Conflict", #body, body)))
  assert(socket:flush())
end

-- -> the path, or nil: the client has gone
local function read_request(socket)
  local first = socket:read "*l"
  if not first then return nil end
  repeat local line = socket:read "*l" until not line or line == "" or line == "\r"
  return first:match "^POST (%S+) "
end

local function new_state(gate)
  return { gate = gate, opened = false, open = {}, last = {}, serving = 0, served = 0, most = 0,
    wrong = 0, condition = require "cqueues.condition".new() }
end

local function pass_gate(self)
  if self.serving >= self.gate and not self.opened then
    self.opened = true
    self.condition:signal()
  end
  while not self.opened do self.condition:wait() end
end

local function serve_event(self, key, number)
  local right = not self.open[key] and number == (self.last[key] or 0) + 1
  if not right then self.wrong = self.wrong + 1 end
  self.open[key], self.serving = true, self.serving + 1
  self.most = math.max(self.most, self.serving)
  pass_gate(self)
  require "cqueues".sleep(LONGEST * math.random())
  self.open[key], self.serving, self.served = nil, self.serving - 1, self.served + 1
  self.last[key] = number
  return right
end

local function serve(self, socket)
  socket:setmode("b", "bf")
  socket:settimeout(120)
  while true do
    local path = read_request(socket)
    if not path then break end
    local key, number = path:match "^/([^/]+)/(%d+)$"
    if path == "/report" then
      answer(socket, 200, ("served %d most %d wrong %d"):format(self.served, self.most, self.wrong))
    elseif serve_event(self, key, tonumber(number)) then
      answer(socket, 200, "ok")
    else
      answer(socket, 409, "out of order")
    end
  end
  socket:close()
end

function web.main(gate)
  local cqueues = require "cqueues"
  local controller, self = cqueues.new(), new_state(gate)
  local listener = require "cqueues.socket".listen { host = "127.0.0.1", port = 0, listen = 2048 }
  assert(listener:listen())
  local _, _, port = listener:localname()
  print(("port %d"):format(port))
  io.flush()
  controller:wrap(function()
    while true do -- 5.1 cannot yield in an iterator
      local socket = assert(listener:accept())
      controller:wrap(function() serve(self, socket) end)
    end
  end)
  assert(controller:loop())
end

return web
