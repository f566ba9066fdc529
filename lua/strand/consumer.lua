-- consumer.lua: the consumer that users hold
--
-- The C side (strand.core) runs the members and the workers; this is the part
-- in the caller's state: waiting and signals (wait.lua), starting and closing
-- (lifecycle.lua), the run loop (run.lua), callbacks (dispatcher.lua), and here the
-- methods. Used of strand.core, and nothing else:
--
-- core.consumer(flat)  -> userdata | nil, message, code
--                         options/consumer.lua has 'flat'; code "OPTION": a property that
--                         librdkafka refuses, raised here
-- core.matches(pattern, topic) -> boolean                    POSIX, as librdkafka does it
-- core.now()           -> seconds, monotonic
-- core.wait({ fd, ... }, timeout | nil) -> true   waits until one is readable, the
--                         timeout has passed (nil: none) or a signal came
-- core.signals_take()  -> fd | nil, message, code   from now on SIGINT and SIGTERM are counted
--                         and make fd readable; nil when they are taken already in this process
-- core.signals_read() -> how many came since signals_take; makes fd unreadable
-- core.signals_restore()   the handlers of before
--
-- The userdata. No method waits but 'start'. Its fd is readable, level-triggered, while
-- there is something that nobody took: an event, a log line, a request for a token, the
-- answer to a ticket, the first join (joined() gave true or nil), an end (see 'ending'),
-- or the end of a close.
--
-- keep(boolean, number, full)   something that was taken is not given on yet: fd is readable for
--                         it; full: no events and lines are taken for now, and fd is not for those
-- state()              -> "new" | "running" | "closing" | "closed" | "forked"
-- start()              -> true | nil, message, code   loads the handlers ("HANDLER"), starts
--                         the owners; does not wait for the group
-- start_begin()        -> true | nil, message, code   as start, but waits for no handler
-- start_done()         -> false while some load | true | nil, message, code
-- joined()             -> true | false | nil, message, code   every member has joined once;
--                         nil: it never will
-- fd()                 -> number | nothing: closed
-- next_event()         -> { type, time, ... } | nil
-- next_log()           -> level, facility, message | nil     only with flat.has_log; else C
--                         writes warnings and worse to stderr itself
-- oauth_needed()       -> boolean; true until oauth_set or oauth_fail
-- oauth_answering(boolean)   it is being answered: fd is not readable for the request
-- oauth_set(token, expires, principal) -> true | nil, message
-- oauth_fail(message)
-- ending()             -> nil | mode, code, message   what asks the consumer to end, until
--                         ending_told(): "finish", "STOPPED" (context:stop_consumer());
--                         "finish", "STOPPED_BY_HANDLER", reason (strand.stop());
--                         "now", code, message (fatal: fenced, a commit unreadable with "fail", ...)
-- close_begin(mode, timeout)   again with mode "now" while closing: hurries
-- close_wait()         -> nil while it goes on | report, message, code   at most timeout + 1
--                         after close_begin; message and code when something failed, such
--                         as the last commit
-- report()             -> report, so far or final
-- commit_begin()       -> ticket | nil, message, code
-- commit_done(ticket)  -> false while it goes on | true | nil, message, code
-- seek_begin(topic, partition, kind, value) -> ticket | nil, message, code
--                         kind "offset" | "time" (seconds) | "earliest" | "latest"
-- seek_done(ticket)    -> as commit_done
-- parked_begin(member, topic, partition, offset) -> ticket | nil, message, code
--                         members from 0; topic "" is before all others
-- parked_done(ticket)  -> as commit_done, but in place of true a page: a list of parked
--                         records from there on, in order; empty when there are no more
-- resolve_begin(topic, partition, offset, what) -> ticket | nil, message, code
-- resolve_done(ticket) -> as commit_done
-- drop(ticket)         nobody will ask for it any more
-- assignment() stats() blockers(n) -> table
-- health()             -> true | nil, reason, code
-- pause(topic | nil, partition | nil), resume(...)   -> true | nil, message, code
-- configure(flat)      -> true | nil, message, code

local core = require "strand.core"
local lifecycle = require "strand.lifecycle"
local nginx = require "strand.nginx"
local object = require "strand.object"
local bodies = require "strand.bodies"
local check = require "strand.options.consumer_methods"
local options = require "strand.options.consumer"
local parked = require "strand.parked"
local properties = require "strand.properties"
local dispatcher = require "strand.dispatcher"
local run = require "strand.run"
local schema = require "strand.schema"
local text = require "strand.text"
local wait = require "strand.wait"

local consumer = {}

local EXIT_TIMEOUT = 2 -- seconds, when an event loop has ended before it
local CLOSE_TAKES = 1 -- seconds at most, beyond its timeout
local WARNING = 4

-- Methods -------------------------------------------------------------------

local methods, lasting = {}, {}

-- It would wait for the handler that calls it.
local function refuse_in_handler(self, name, instead)
  if not (self.bodies and self.bodies:inside()) then return end
  schema.raise(("consumer:%s() in a handler%s"):format(name, instead or ""))
end

function methods:start()
  return lifecycle.start(self)
end

-- Two would serve it.
local function refuse_in_loop(self, name)
  if not self.loop then return end
  schema.raise(("%s(): the consumer is served by an event loop"):format(name))
end

local function refuse_run(self, name)
  refuse_in_loop(self, name)
  nginx.refuse_wait(self, name)
end

function methods:run(given)
  refuse_run(self, "run")
  refuse_in_handler(self, "run")
  local ok, message, code = run({ self }, check.run(given))
  if not ok then return nil, message, code end
  return lifecycle.result(self)
end

function methods:stop()
  wait.begin_close(self, "finish", wait.stop_timeout(self))
  return true
end

function methods:fd()
  return self.core:fd()
end

function methods:commit(timeout)
  timeout = check.commit(timeout)
  return wait.request(self, timeout, self.core.commit_done, self.core:commit_begin())
end

function methods:seek(given)
  local to = check.seek(given)
  return wait.request(self, to.timeout, self.core.seek_done,
    self.core:seek_begin(to.topic, to.partition, to.kind, to.value))
end

function methods:pause(given)
  return self.core:pause(check.pause(given))
end

function methods:resume(given)
  return self.core:resume(check.resume(given))
end

function methods:assignment()
  return self.core:assignment()
end

function methods:blockers(n)
  return self.core:blockers(check.blockers(n))
end

function methods:parked()
  return parked(self)
end

function methods:resolve(record, what, timeout)
  local place = check.resolve(record, what, timeout)
  return wait.request(self, place.timeout, self.core.resolve_done,
    self.core:resolve_begin(place.topic, place.partition, place.offset, place.what))
end

function methods:configure(given)
  local flat, limits = options.configure(given, self.limits)
  local ok, message, code = self.core:configure(flat)
  if not ok then return nil, message, code end
  self.limits = limits
  if self.bodies then self.bodies:configure(flat) end
  return true
end

-- A stopped or failed consumer closes while it is stepped.
function lasting:step(timeout)
  timeout = check.step(timeout)
  refuse_in_handler(self, "step")
  if timeout ~= 0 and not self.loop then nginx.refuse_wait(self, "step") end
  if lifecycle.is_over(self) then return nil, "the consumer is closed", "CLOSED" end
  if self.core:state() == "new" then
    return nil, "the consumer has not been started", "NOT_STARTED"
  end
  refuse_in_loop(self, "step")
  wait.any({ self }, timeout)
  local count = wait.serve(self)
  lifecycle.advance(self)
  return count
end

function lasting:close(given)
  local wanted = check.close(given)
  refuse_in_handler(self, "close", ": use context:stop_consumer()")
  return lifecycle.close(self, wanted.mode, wanted.timeout)
end

function lasting:health()
  if lifecycle.is_over(self) then return nil, "the consumer is closed", "CLOSED" end
  local unserved = self.loop and self.loop.unserved
  if unserved then return nil, unserved, "NOT_SERVED" end
  return self.core:health()
end

function lasting:report()
  return text.report(self.core:report())
end

function lasting:stats()
  return self.core:stats()
end

local class = object.class("consumer", "strand.Consumer", methods, lasting)

-- nginx's worker is at its end: no handler goes on, and the process has so many seconds, also for
-- what a close takes beyond its timeout.
local function hasten_at_exit(self, seconds)
  wait.begin_close(self, "now", math.max(0, seconds - CLOSE_TAKES))
end

local function say_at_exit(self, what)
  self.dispatcher:log(WARNING, "nginx", ("the worker has ended: %s (group '%s')"):format(what, self.name))
end

local function close_at_exit(self, seconds)
  local report, message, _, partial = lifecycle.close(self, "now", math.max(0, seconds - CLOSE_TAKES))
  local unfinished = (report or partial).unfinished_total
  if unfinished > 0 then
    say_at_exit(self, ("%d records were not done, and are handled again"):format(unfinished))
  end
  if message then say_at_exit(self, message) end
end

-- For an event loop (loop/service.lua).
class.metatable.serving = {
  noun = "consumer",
  start = lifecycle.start,
  turn = function(self)
    self.core:joined() -- taken: else the first join would keep fd readable
    local count = wait.serve(self)
    lifecycle.advance(self)
    return count
  end,
  is_over = function(self) return self.result ~= nil end,
  quit = function(self, timeout) wait.begin_close(self, "finish", timeout) end,
  hasten = function(self, seconds)
    self.loop = nil
    hasten_at_exit(self, seconds)
  end,
  on_exit = function(self, seconds)
    self.loop = nil
    if seconds then return close_at_exit(self, seconds) end
    lifecycle.close(self, "now", EXIT_TIMEOUT)
  end,
}

-- Opening -------------------------------------------------------------------

function consumer.open(given)
  nginx.check_open "consumer"
  local flat, own = options.open(given, core.matches)
  local userdata, message, code = core.consumer(flat)
  if message then
    message = properties.hide_secrets(message, flat.kafka)
    if flat.letters then message = properties.hide_secrets(message, flat.letters.kafka) end
  end
  local self, problem
  self, problem, code = object.open(class, {
    limits = own.limits, start_timeout = own.start_timeout, members = flat.members,
    name = properties.find(flat.kafka, "group.id"),
  }, userdata, message, code)
  if not self then return nil, problem, code end
  self.dispatcher = dispatcher.new(userdata, own)
  if own.bodies then
    self.bodies = bodies.new(self, userdata, own.bodies)
    own.on_event = self.bodies:traced(own.on_event)
  end
  return self
end

-- The arguments of strand.run: consumers, and perhaps a table of options, which
-- is taken out of the list.
local function run_arguments(list, count)
  local last, given = list[count], nil
  if count > 1 and type(last) == "table" and getmetatable(last) == nil then
    given, list[count], count = last, nil, count - 1
  end
  if count == 0 then schema.raise("strand.run: one consumer or more expected, got none") end
  for i = 1, count do
    local self = list[i]
    if getmetatable(self) ~= class.metatable then
      schema.raise(("strand.run: argument %d: consumer expected, got %s"):format(i,
        schema.describe(self)))
    elseif self.core:state() == "closed" then
      schema.raise("attempt to use a closed consumer")
    end
    refuse_run(self, "strand.run")
  end
  return check.run(given)
end

-- strand.run(consumer, ..., options?) -> reports, in the same order
--                                      | nil, message, code, reports
function consumer.run(...)
  local list = { ... }
  local ran, problem, reason = run(list, run_arguments(list, select("#", ...)))
  if not ran then return nil, problem, reason end
  local reports, failed = {}, nil
  for i, self in ipairs(list) do
    local report, message, code, last = lifecycle.result(self)
    reports[i] = report or last
    if not report and not failed then failed = { message, code } end
  end
  if failed then return nil, failed[1], failed[2], reports end
  return reports
end

return consumer
