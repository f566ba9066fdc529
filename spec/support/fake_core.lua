-- A strand.core without C, for specs of the Lua layer: time stands still
-- until somebody waits, and a script says what happens when. Waiting with
-- nothing to come is an error, so that no spec hangs.
local fake = {}

-- What happens at which second: fake.at(2, function() ... end)
local script, time, signals, unread

function fake.reset()
  script, time, signals, unread = {}, 0, nil, false
end

function fake.at(seconds, action)
  script[#script + 1] = { at = seconds, action = action, order = #script }
  table.sort(script, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.order < b.order
  end)
end

function fake.signal()
  if signals then signals, unread = signals + 1, true end
end

function fake.signals_are_taken() return signals ~= nil end

local real = require "strand.core" -- before it is taken for the other
fake.call = real.call
fake.plain_send = function(_, _, method) return method end -- its objects are no userdata
fake.plain_send_batch = fake.plain_send
fake.property_refusal, fake.property_is_secret = real.property_refusal, real.property_is_secret
fake.now = function() return time end
fake.matches = function(pattern, topic) return topic:find(pattern) ~= nil end
fake.signals_take = function() signals = 0 return "signals" end
fake.signals_read = function() unread = false return signals end
fake.signals_restore = function() signals = nil end

local function any_readable(fds)
  for _, fd in ipairs(fds) do
    if fd == "signals" then
      if unread then return true end
    elseif fd.readable() then
      return true
    end
  end
  return false
end

-- Runs the script up to the first thing that makes a descriptor readable,
-- or up to the timeout.
function fake.wait(fds, timeout)
  if any_readable(fds) then return true end
  local deadline = timeout and time + timeout
  while script[1] and not (deadline and script[1].at > deadline) do
    local next_one = table.remove(script, 1)
    time = math.max(time, next_one.at)
    next_one.action()
    if any_readable(fds) then return true end
  end
  if not deadline then error("waiting for ever", 2) end
  time = deadline
  return true
end

-- A userdata's stand-in ------------------------------------------------------

local object = {}
object.__index = object

-- The newest object that was opened.
function fake.newest() return fake.opened[#fake.opened] end
fake.opened = {}

local function open(flat)
  local self = setmetatable({ flat = flat, events = {}, logs = {}, deliveries = {}, resolved = {}, calls = {},
    status = "new", tickets = {} }, object)
  self.descriptor = { readable = function() return self:is_readable() end }
  fake.opened[#fake.opened + 1] = self
  return self
end

fake.consumer, fake.admin, fake.mock = open, open, open

function fake.producer(flat)
  local self = open(flat)
  self.status, self.in_flight = "running", 0
  return self
end

function object:is_readable()
  return not self.full and (#self.events > 0 or #self.logs > 0)
    or #self.deliveries > 0 or #self.resolved > 0
    or (self.needs_token and not self.answering)
    or self.kept or self.end_asked ~= nil or self.answered or self.ended ~= nil
end

function object:note(name, ...)
  self.calls[#self.calls + 1] = { name, ... }
  return true
end

function object.send_async_plain() return false end
function object:state() return self.status end
function object:fd() return self.descriptor end
function object:next_event() return table.remove(self.events, 1) end
function object:keep(kept, _, full) self.kept, self.full = kept, full end

-- What 'resolved' has, { report, id }, and then 'deliveries'.
function object:next_delivery(by_id)
  local resolved = table.remove(self.resolved, 1)
  while resolved do
    if by_id[resolved[2]] then by_id[resolved[2]].report = resolved[1] end
    resolved = table.remove(self.resolved, 1)
  end
  return table.remove(self.deliveries, 1)
end

function object:deliver(by_id, metatable, on_delivery, handler, most)
  for served = 0, most - 1 do
    local report = self:next_delivery(by_id, metatable)
    if report == nil then return served, nil, 0 end
    local ok, problem = fake.call(handler, on_delivery, report)
    if not ok then return served + 1, problem, 0 end
  end
  return most, nil, 0
end

function object:next_log()
  local line = table.remove(self.logs, 1)
  if line then return line[1], line[2], line[3] end
end

function object.start_begin() return true end

function object:start_done()
  if self.loads then return false end
  if self.start_failure then return nil, self.start_failure, "HANDLER" end
  self.status = "running"
  return true
end

function object:joined()
  self.answered = false
  return self.is_joined or false
end

function object:oauth_needed()
  return self.needs_token or false
end

function object:oauth_answering(on) self.answering = on end

function object:oauth_set(...)
  self.needs_token = nil
  return self:note("oauth_set", ...)
end

function object:oauth_fail(...)
  self.needs_token = nil
  return self:note("oauth_fail", ...)
end

function object:ending()
  local asked = self.end_asked
  if asked then return asked[1], asked[2], asked[3] end
end

function object:ending_told() self.end_asked = nil end

-- 'close_takes' seconds; mode "now" ends at once.
function object:close_begin(mode, timeout)
  self:note("close_begin", mode, timeout)
  self.status = "closing"
  local function finish()
    self.ended = self.ended or { done = 1 }
  end
  if mode == "now" then return finish() end
  fake.at(time + (self.close_takes or 1), finish)
end

function object:close_wait()
  if not self.ended then return nil end
  local report = self.ended
  self.status = "closed"
  return report, self.close_failure, self.close_failure and "TIMED_OUT"
end

function object:commit_begin()
  self:note("commit_begin")
  self.commit_answer = nil
  return 1
end

function object:commit_done()
  if not self.commit_answer then return false end
  self.answered = false
  return true
end

function object:drop() self:note("drop") end
function object.health() return nil, "no broker answers", "UNREACHABLE" end
function object:report() return self.ended or {} end
function object:stats()
  return { purged = self.status == "closed" and self.in_flight or 0, outstanding = 0 }
end
function object:configure(...) return self:note("configure", ...) end
function object:pause(...) return self:note("pause", ...) end
function object:seek_begin(...) self:note("seek_begin", ...) return 1 end
function object.seek_done() return true end

-- Producer
-- A record with a timeout has failed at its end.
function object:send(...)
  self:note("send", ...)
  self.in_flight = self.in_flight + 1
  local id, timeout = select(8, ...)
  if timeout then
    fake.at(time + timeout, function()
      self.resolved[#self.resolved + 1] = { { error = "late", code = "TIMED_OUT" }, id or 0 }
    end)
  end
  return true
end
function object:partitions() return self.count, "not known yet", "NO_METADATA" end
function object:hurry(on) self.hurried = (self.hurried or 0) + (on and 1 or -1) end
function object:outstanding() return self.in_flight, #self.deliveries end
function object:flush_begin() self:note("flush_begin") end
function object:obstacle() return self.in_the_way end
function object.transaction_state() end -- it has no transactions
function object:close()
  self.status = "closed"
  return { purged = self.in_flight }
end

return fake
