-- transactions.lua: begin, commit and abort of a producer
--
-- The C side knows where the transaction stands and what comes next; brokers
-- are waited for by a thread of its own. Here that is waited for, and reports,
-- events, log lines and requests for a token are served meanwhile.
-- Used of strand.core, of the producer's userdata:
--
-- transaction_misuse(goal)  -> why it makes no sense now | nil
-- transact(goal, seconds)   -> true: reached | false: not yet, fd() tells when to call again |
--                         nil, message, code, { retriable, abortable, fatal, certain }
--                         goals: "begin", "commit", "abort", "end" (abort, and no more)
-- obstacle()                -> what is known to be in the way of brokers and records | nothing
-- transaction_state()       -> "idle", "open", "flushing", "committing", "failed", "aborting",
--                         "over"; whether it is certain that nothing is committed | nothing:
--                         it has no transactional_id

local core = require "strand.core"
local check = require "strand.options.producer"
local delivery = require "strand.delivery"
local schema = require "strand.schema"

local transactions = {}

local WARNING = 4

local function timed_out(self, goal, timeout)
  return nil, ("%s() did not end within %.14g s%s: call it again"):format(goal, timeout,
    delivery.obstacle(self)), "TIMED_OUT",
    { retriable = true, abortable = false, fatal = false, certain = false }
end

-- A callback has closed the producer. What that did is in its report, if it came so far.
local function closed(self)
  local ended = self.report and self.report.transaction
  return nil, "the producer was closed meanwhile", "CLOSED", { retriable = false, abortable = false,
    fatal = true, certain = ended == "aborted" }
end

local function reach(self, goal, timeout)
  local deadline = core.now() + timeout
  while true do
    if self.core:state() == "closed" then return closed(self) end
    local left = math.max(0, deadline - core.now())
    local done, message, code, flags = self.core:transact(goal, left)
    if done ~= false then
      if not self.loop then self.dispatcher:serve() end
      if done then return true end
      return nil, message, code, flags
    end
    if left == 0 then return timed_out(self, goal, timeout) end
    delivery.wait_and_serve(self, deadline)
  end
end

-- One at a time: where a callback ended what its caller waits to end, or began another
-- transaction, the caller would take the one for the other.
local function reach_alone(self, goal, timeout)
  self.waits = goal
  local ok, done, message, code, flags = delivery.guarded(self, reach, self, goal, timeout)
  self.waits = nil
  if not ok then error(done, 0) end
  return done, message, code, flags
end

local function refuse_in_callback(self, method)
  if self.closing then schema.raise(("%s(): the producer closes"):format(method)) end
  if not self.waits then return end
  schema.raise(("%s(): %s() waits, and has %s"):format(method, self.waits,
    self.loop and "not ended" or "called this callback"))
end

local function refuse_misuse(self, method, goal)
  local problem = self.core:transaction_misuse(goal)
  if problem then schema.raise(("%s(): %s"):format(method, problem)) end
end

local function method(goal)
  return function(self, timeout)
    timeout = check.transaction_timeout(timeout)
    refuse_in_callback(self, goal)
    refuse_misuse(self, goal, goal)
    return reach_alone(self, goal, timeout)
  end
end

local methods = { begin = method "begin", commit = method "commit", abort = method "abort" }

-- A strand consumer commits what is done by itself. The same offsets in a
-- transaction as well would be committed twice, by two that do not know of
-- each other: what is aborted here would be done there.
function methods:send_offsets()
  refuse_misuse(self, "send_offsets", "begin")
  schema.raise("send_offsets(): a consumer commits by itself what is done; this version of strand "
    .. "cannot put it into a producer's transaction")
end

-- Into the methods of the producer's class.
function transactions.add_to(class_methods)
  for name, run in pairs(methods) do class_methods[name] = run end
end

-- What core:send gave to the method of this name; without a transaction it was not to be called.
function transactions.sent(name, id, message, code, flags)
  if code == "NO_TRANSACTION" then schema.raise(("%s(): %s"):format(name, message)) end
  return id, message, code, flags
end

-- A commit that is under way is waited for; anything else is aborted.
-- -> "aborted", "unknown" (its commit may have happened) | nil: none was open
function transactions.close(self, timeout)
  local state, certain = self.core:transaction_state()
  if not state or state == "idle" then return nil end
  if state == "committing" then
    local ok, _, _, flags = reach(self, "commit", timeout)
    if ok then return nil end
    certain = flags.certain
  end
  reach(self, "end", timeout)
  if self.report then return self.report.transaction end -- a callback closed it, and said so
  self.dispatcher:log(WARNING, "PRODUCER", certain and "closed in a transaction, which was aborted"
    or "closed in a commit whose end is not known")
  return certain and "aborted" or "unknown"
end

return transactions
