-- wait.lua: what a consumer does while it waits: it serves its callbacks, and obeys signals
--
-- One run loop at a time in a process has SIGINT and SIGTERM. As long as it does, whoever waits
-- obeys them, also a method that waits in a callback.

local core = require "strand.core"
local check = require "strand.options.consumer_methods"
local schema = require "strand.schema"

local wait = {}

-- The run loop that has the signals, or nil: { list = consumers, close = what the first signal
-- does, signal_fd, signals = how many were obeyed }.
local active

-- -> true | nil, message, code. Raises when another loop has them.
function wait.take_signals(loop)
  if active then schema.raise("another run() is active in this process") end
  loop.signal_fd, loop.signals = false, 0
  local fd, message, code = core.signals_take()
  if not fd and code == "CONFLICT" then schema.raise(message) end
  if not fd then return nil, message, code end
  loop.signal_fd, active = fd, loop
  return true
end

function wait.restore_signals()
  active = nil
  core.signals_restore()
end

-- Serves what is due: handlers in local mode, then callbacks. -> how much was
function wait.serve(self)
  local count = self.bodies and self.bodies:serve() or 0
  return count + self.dispatcher:serve()
end

-- Waits until one of 'list' has something to serve, a signal came, or the
-- timeout has passed (nil: none).
function wait.any(list, timeout)
  local fds = { active and active.signal_fd }
  for _, self in ipairs(list) do
    if self.dispatcher:pending() then return end
    self.core:joined() -- taken: else the first join would keep fd readable
    fds[#fds + 1] = self.core:fd()
  end
  core.wait(fds, timeout)
end

-- Ending --------------------------------------------------------------------

function wait.begin_close(self, mode, timeout)
  local state = self.core:state()
  if state == "closed" or (state == "closing" and mode ~= "now") then return end
  self.core:close_begin(mode, timeout)
  if self.bodies and mode ~= "drain" then self.bodies:halt() end
end

local STOP_TIMEOUT = check.close(nil).timeout

-- In run() a stop has as long as a signal has.
function wait.stop_timeout(self)
  for _, one in ipairs(active and active.list or {}) do
    if one == self then return active.close.timeout end
  end
  return STOP_TIMEOUT
end

function wait.stop_all(list, mode, timeout)
  for _, self in ipairs(list) do
    if not self.result then wait.begin_close(self, mode, timeout or wait.stop_timeout(self)) end
  end
end

-- The first signal finishes what is in flight, or does what run() was told;
-- the second does not wait.
function wait.obey_signals()
  local count = core.signals_read()
  if count == active.signals then return end
  local first = active.close
  wait.stop_all(active.list, count > 1 and "now" or first.mode, first.timeout)
  active.signals = count -- obeyed: what raises above is done again
end

-- Answers -------------------------------------------------------------------

-- Until something may have come, at most so long. In an event loop another coroutine serves.
local function wait_and_serve(self, timeout)
  if self.loop then return self.loop:await(timeout) end
  wait.any({ self }, timeout)
  if active then wait.obey_signals() end
  wait.serve(self)
end

-- Serves until poll() gives something other than false. A nil timeout waits
-- for as long as it takes. -> what poll gave | nil, message, "TIMED_OUT"
function wait.poll(self, timeout, poll)
  if self.bodies and not self.adapter and self.bodies:inside() then
    local answer, message, code = poll()
    if answer ~= false then return answer, message, code end
    return nil, "a handler cannot wait here, without an event loop: it would keep all others",
      "CANNOT_WAIT"
  end
  local deadline = timeout and core.now() + timeout
  while true do
    local answer, message, code = poll()
    if answer ~= false then return answer, message, code end
    local left = deadline and deadline - core.now()
    if left and left <= 0 then
      return nil, ("no answer within %.14g s"):format(timeout), "TIMED_OUT"
    end
    wait_and_serve(self, left)
  end
end

-- A request to the owners, such as a commit, waited for: 'ticket' is what one
-- of the core's X_begin gave, 'done' is its X_done.
function wait.request(self, timeout, done, ticket, message, code)
  if not ticket then return nil, message, code end
  local answer
  answer, message, code = wait.poll(self, timeout, function() return done(self.core, ticket) end)
  if code == "TIMED_OUT" or code == "CANNOT_WAIT" then self.core:drop(ticket) end
  return answer, message, code
end

return wait
