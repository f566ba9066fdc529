-- lifecycle.lua: how a consumer starts, and how it comes to its end
--
--   start -> running -> begin_close (close, stop, a signal, a handler) -> close_ended
--
-- 'result' of a consumer is what close() gives, once it has ended; 'failure' what it gives for a
-- consumer that ended for a reason.

local schema = require "strand.schema"
local text = require "strand.text"
local wait = require "strand.wait"

local lifecycle = {}

-- Closing -------------------------------------------------------------------

-- The result of close(): the same for the second call.
local function ended(self, report, message, code)
  if self.failure then message, code = self.failure.message, self.failure.code end
  if code then
    self.result = { nil, message, code, report }
  else
    self.result = { report }
  end
end

-- -> report | nil, message, code, report
function lifecycle.result(self)
  return self.result[1], self.result[2], self.result[3], self.result[4]
end

-- Whether the close has ended; its result is kept.
local function close_ended(self)
  if self.result then return true end
  local report, message, code = self.core:close_wait()
  if report == nil then return false end
  if self.bodies then self.bodies:finish() end
  self.dispatcher:finish() -- what came last
  if not self.result then ended(self, text.report(report), message, code) end
  return true
end

-- In an event loop the serving coroutine makes the last step: it must not wait for the descriptor
-- when that is given back.
local function wait_for_end(self)
  wait.poll(self, nil, function()
    if self.loop then return self.result ~= nil end
    return close_ended(self)
  end)
end

function lifecycle.close(self, mode, timeout)
  if self.result then return lifecycle.result(self) end
  wait.begin_close(self, mode, timeout)
  local refusal = self.loop and self.loop:refusal()
  if refusal then return nil, ("close() has begun: %s"):format(refusal), "CANNOT_WAIT" end
  wait_for_end(self)
  return lifecycle.result(self)
end

-- What C asks for: a handler's stop(), a fatal error.
local function obey_ending(self)
  local mode, code, message = self.core:ending()
  if not mode then return end
  if code ~= "STOPPED" then
    self.failure = { message = message or code, code = code }
  end
  wait.begin_close(self, mode, wait.stop_timeout(self))
  self.core:ending_told() -- last: what raises above is done again
end

-- One step towards the end, where one is asked for.
function lifecycle.advance(self)
  if self.result then return end -- closed by a callback
  obey_ending(self)
  local state = self.core:state()
  if state == "closing" or state == "closed" then close_ended(self) end
end

function lifecycle.is_over(self)
  return self.result ~= nil or self.core:state() == "closed"
end

-- Starting ------------------------------------------------------------------

local GIVE_UP_TIMEOUT = 5

-- A start that failed leaves nothing behind: objects are single-use.
local function give_up(self, message, code)
  self.failure = { message = message, code = code }
  lifecycle.close(self, "now", GIVE_UP_TIMEOUT)
  return nil, message, code
end

local function join_problem(self, timeout)
  local _, reason = self.core:health()
  local message = ("not a member of the group within %.14g s (start_timeout)"):format(timeout)
  return reason and message .. ": " .. reason or message
end

local function wait_for_join(self, timeout)
  local joined, message, code = wait.poll(self, timeout, function()
    -- Stopped meanwhile: no failure of the start.
    if self.result or self.core:state() ~= "running" then return true end
    return self.core:joined()
  end)
  if joined then return true end
  if code == "TIMED_OUT" then message = join_problem(self, timeout) end
  return give_up(self, message, code)
end

-- Callbacks are served and signals obeyed while handlers are loaded. A close that comes then is no
-- failure of the start, and leaves behind what is not loaded in its time.
local function load_and_join(self)
  local ok, message, code = self.core:start_begin()
  if not ok then return nil, message, code end
  self.loading = true
  ok, message, code = wait.poll(self, nil, function()
    if self.core:state() ~= "new" then return true end
    return self.core:start_done()
  end)
  self.loading = false
  return ok, message, code
end

-- -> true | nil, message, code
function lifecycle.start(self)
  if self.loading then schema.raise("start(): the consumer is being started") end
  if self.core:state() ~= "new" then return true end
  local ok, message, code = true, nil, nil
  if self.bodies then ok, message, code = self.bodies:load() end
  if ok then ok, message, code = load_and_join(self) end
  if not ok then return give_up(self, message, code) end
  if not self.loop then wait.serve(self) end
  if self.start_timeout then return wait_for_join(self, self.start_timeout) end
  return true
end

return lifecycle
