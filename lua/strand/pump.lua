-- pump.lua: from a core object to the user's callbacks
--
-- The C side calls no Lua by itself. Whoever waits on a core object takes
-- what it has ready, events, log lines, requests for a token, delivery
-- reports, and hands it to the callbacks here, in the caller's state. A
-- callback may call methods that wait, and so come here again: then what
-- arrives is kept, and delivered when the callback has returned.
--
--   core -> collect -> queue -> dispatch -> on_event, log, on_delivery
--
-- A callback that raises loses nothing but its own call: the error goes to
-- the log.

local text = require "strand.text"

local pump = {}
pump.__index = pump

local ERROR, WARNING = 3, 4

local LEVELS = { [0] = "emergency", "alert", "critical", "error", "warning", "notice",
  "info", "debug" }

local function write_log(level, facility, message)
  if level > WARNING then return end
  io.stderr:write(("strand: %s: %s: %s\n"):format(LEVELS[level] or level, facility, message))
end

-- A callback may raise anything, also what raises when it is made text.
local function text_of(problem)
  local ok, shown = pcall(tostring, problem)
  return ok and type(shown) == "string" and shown or "a " .. type(problem)
end

-- 'callbacks': on_event, log, oauth_token, on_delivery, each or nil.
function pump.new(core, callbacks)
  return setmetatable({
    core = core, callbacks = callbacks, first = 1, last = 0, dispatching = false,
  }, pump)
end

function pump:log(level, facility, message)
  local log = self.callbacks.log
  if not log then return write_log(level, facility, message) end
  local ok, problem = pcall(log, level, facility, message)
  if not ok then
    write_log(ERROR, "log", "error in log: " .. text_of(problem))
    write_log(level, facility, message)
  end
end

local function traceback(problem)
  if type(problem) ~= "string" then return problem end
  return debug.traceback(problem, 2)
end

-- The callback 'name' with one argument.
function pump:call(name, argument)
  local callback = self.callbacks[name]
  if not callback then return end
  local ok, problem = xpcall(function() callback(argument) end, traceback)
  if not ok then
    self:log(ERROR, name, ("error in %s: %s"):format(name, text_of(problem)))
  end
end

-- Tokens --------------------------------------------------------------------

local function token_problem(token, expires, principal)
  if token == nil and type(expires) == "string" then return expires end
  if type(token) ~= "string" or token == "" then
    return "oauth_token returned no token"
  elseif type(expires) ~= "number" or expires ~= expires then
    return "oauth_token returned no time of expiry beside the token"
  elseif principal ~= nil and type(principal) ~= "string" then
    return "oauth_token returned a principal that is no string"
  elseif (token .. (principal or "")):find("\0", 1, true) then
    return "oauth_token returned a token or principal with a zero byte"
  end
end

-- librdkafka asks again by itself after a failure.
function pump:answer_token_request()
  local ok, token, expires, principal = pcall(self.callbacks.oauth_token)
  local problem
  if not ok then
    problem = "error in oauth_token: " .. text_of(token)
  else
    problem = token_problem(token, expires, principal)
  end
  if not problem then
    ok, problem = self.core:oauth_set(token, expires, principal or "")
    if ok then return end
  end
  self.core:oauth_fail(problem)
end

-- Serving -------------------------------------------------------------------

local function put(self, name, value)
  self.last = self.last + 1
  self[self.last] = { name, value }
end

local function collect(self)
  local core = self.core
  if core.next_log then
    for level, facility, message in core.next_log, core do
      put(self, "log", { level, facility, message })
    end
  end
  for event in core.next_event, core do put(self, "on_event", text.event(event)) end
  if core.next_delivery then
    for report in core.next_delivery, core do put(self, "on_delivery", text.delivery(report)) end
  end
end

-- Only what is there now: a callback whose calls make events could keep it
-- going for ever.
local function dispatch(self)
  local count, last = 0, self.last
  self.dispatching = true
  while self.first <= last do
    local item = self[self.first]
    self[self.first] = nil
    self.first = self.first + 1
    count = count + 1
    if item[1] == "log" then
      self:log(item[2][1], item[2][2], item[2][3])
    else
      self:call(item[1], item[2])
    end
  end
  self.dispatching = false
  return count
end

-- Whether something was kept that serve() can deliver.
function pump:pending()
  return not self.dispatching and self.first <= self.last
end

-- Everything that is ready now, never waiting. -> number of calls made
function pump:serve()
  local count = 0
  if self.callbacks.oauth_token and self.core:oauth_needed() then
    self:answer_token_request()
    count = 1
  end
  collect(self)
  if self.dispatching then return count end
  return count + dispatch(self)
end

return pump
