-- consumer.lua: the consumer that users hold
--
-- The C side (strand.core) runs the members and the workers; this is the part
-- in the caller's state: waiting, callbacks, the run loop, signals, closing.
-- Used of strand.core, and nothing else:
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
-- keep(boolean)        something that was taken is not given on yet: fd is readable for it
-- state()              -> "new" | "running" | "closing" | "closed" | "forked"
-- start()              -> true | nil, message, code   loads the handlers ("HANDLER"), starts
--                         the owners; does not wait for the group
-- joined()             -> true | false | nil, message, code   every member has joined once;
--                         nil: it never will
-- fd()                 -> number | nothing: closed
-- next_event()         -> { type, time, ... } | nil
-- next_log()           -> level, facility, message | nil     only with flat.has_log; else C
--                         writes warnings and worse to stderr itself
-- oauth_needed()       -> boolean; true until oauth_set or oauth_fail
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
local object = require "strand.object"
local check = require "strand.options.consumer_methods"
local options = require "strand.options.consumer"
local properties = require "strand.properties"
local pump = require "strand.pump"
local schema = require "strand.schema"
local text = require "strand.text"

local consumer = {}

-- Waiting -------------------------------------------------------------------

-- The run loop that owns the signals, or nil: one at a time in a process.
local active

-- Waits until one of 'list' has something to serve, a signal came, or the
-- timeout has passed (nil: none).
local function wait(list, timeout)
  local fds = { active and active.signal_fd }
  for _, self in ipairs(list) do
    if self.pump:pending() then return end
    self.core:joined() -- taken: else the first join would keep fd readable
    fds[#fds + 1] = self.core:fd()
  end
  core.wait(fds, timeout)
end

local function begin_close(self, mode, timeout)
  local state = self.core:state()
  if state == "closed" or (state == "closing" and mode ~= "now") then return end
  self.core:close_begin(mode, timeout)
end

local function each_open(list, act)
  for _, self in ipairs(list) do
    if not self.result then act(self) end
  end
end

local STOP_TIMEOUT = check.close(nil).timeout

-- In run() a stop has as long as a signal has.
local function stop_timeout(self)
  for _, one in ipairs(active and active.list or {}) do
    if one == self then return active.close.timeout end
  end
  return STOP_TIMEOUT
end

local function stop_all(list, mode, timeout)
  each_open(list, function(self) begin_close(self, mode, timeout or stop_timeout(self)) end)
end

-- The first signal finishes what is in flight, or does what run() was told;
-- the second does not wait.
local function obey_signals()
  local count = core.signals_read()
  if count == active.signals then return end
  local first = active.close
  stop_all(active.list, count > 1 and "now" or first.mode, first.timeout)
  active.signals = count -- obeyed: what raises above is done again
end

-- Serves until poll() gives something other than false. A nil timeout waits
-- for as long as it takes. -> what poll gave | nil, message, "TIMED_OUT"
local function serve_until(self, timeout, poll)
  local deadline = timeout and core.now() + timeout
  while true do
    local answer, message, code = poll()
    if answer ~= false then return answer, message, code end
    local left = deadline and deadline - core.now()
    if left and left <= 0 then
      return nil, ("no answer within %.14g s"):format(timeout), "TIMED_OUT"
    end
    wait({ self }, left)
    if active then obey_signals() end
    self.pump:serve()
  end
end

-- A request to the owners, such as a commit, waited for.
local function request(self, timeout, done, ticket, message, code)
  if not ticket then return nil, message, code end
  local answer
  answer, message, code = serve_until(self, timeout, function() return done(self.core, ticket) end)
  if code == "TIMED_OUT" then self.core:drop(ticket) end
  return answer, message, code
end

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

local function result(self)
  return self.result[1], self.result[2], self.result[3], self.result[4]
end

-- Whether the close has ended; its result is kept.
local function close_ended(self)
  if self.result then return true end
  local report, message, code = self.core:close_wait()
  if report == nil then return false end
  self.pump:finish() -- what came last
  if not self.result then ended(self, text.report(report), message, code) end
  return true
end

local function close(self, mode, timeout)
  if not self.result then
    begin_close(self, mode, timeout)
    serve_until(self, nil, function() return close_ended(self) end)
  end
  return result(self)
end

local GIVE_UP_TIMEOUT = 5

-- A start that failed leaves nothing behind: objects are single-use.
local function give_up(self, message, code)
  self.failure = { message = message, code = code }
  close(self, "now", GIVE_UP_TIMEOUT)
  return nil, message, code
end

-- What C asks for: a handler's stop(), a fatal error.
local function obey_ending(self)
  local mode, code, message = self.core:ending()
  if not mode then return end
  if code ~= "STOPPED" then
    self.failure = { message = message or code, code = code }
  end
  begin_close(self, mode, stop_timeout(self))
  self.core:ending_told() -- last: what raises above is done again
end

-- Starting ------------------------------------------------------------------

local function join_problem(self, timeout)
  local _, reason = self.core:health()
  local message = ("not a member of the group within %.14g s (start_timeout)"):format(timeout)
  return reason and message .. ": " .. reason or message
end

local function wait_for_join(self, timeout)
  local joined, message, code = serve_until(self, timeout, function()
    -- Stopped meanwhile: no failure of the start.
    if self.result or self.core:state() ~= "running" then return true end
    return self.core:joined()
  end)
  if joined then return true end
  if code == "TIMED_OUT" then message = join_problem(self, timeout) end
  return give_up(self, message, code)
end

local function start(self)
  if self.core:state() ~= "new" then return true end
  local ok, message, code = self.core:start()
  if not ok then return give_up(self, message, code) end
  self.pump:serve()
  if self.start_timeout then return wait_for_join(self, self.start_timeout) end
  return true
end

-- The run loop --------------------------------------------------------------

-- One step towards the end, where one is asked for.
local function advance(self)
  if self.result then return end -- closed by a callback
  obey_ending(self)
  local state = self.core:state()
  if state == "closing" or state == "closed" then close_ended(self) end
end

local function serve_one(self)
  self.pump:serve()
  advance(self)
end

local function obey_failures(list)
  for _, self in ipairs(list) do
    if self.failure then return stop_all(list, "finish") end
  end
end

local function tick(loop)
  if not loop.tick or core.now() < loop.next_tick then return end
  loop.next_tick = core.now() + loop.every
  each_open(loop.list, function(self)
    if self.core:state() == "running" then loop.tick(self) end
  end)
end

local function still_open(list)
  local open = {}
  each_open(list, function(self) open[#open + 1] = self end)
  return open
end

local function start_all(list)
  for _, self in ipairs(list) do
    if not self.result and not start(self) then return stop_all(list, "finish") end
  end
end

local function turn(loop)
  start_all(loop.list)
  loop.next_tick = core.now() + loop.every
  while true do
    obey_signals()
    each_open(loop.list, serve_one)
    obey_failures(loop.list)
    tick(loop)
    local open = still_open(loop.list)
    if #open == 0 then return end
    wait(open, loop.tick and math.max(0, loop.next_tick - core.now()))
  end
end

-- Serves all of 'list' until each has ended -> true | nil, message, code: it
-- could not begin, and nothing has happened. An error in tick passes
-- through, and leaves the consumers as they are. In a coroutine of its own: a
-- yield in tick would leave the signals taken for ever.
local function run_loop(list, run_options)
  if active then schema.raise("another run() is active in this process") end
  -- All is made before the signals are taken: what raises then leaves them.
  local loop = { list = list, signal_fd = false, signals = 0,
    every = run_options.every, tick = run_options.tick, close = run_options.close }
  local thread = coroutine.create(turn)
  local fd, message, code = core.signals_take()
  if not fd and code == "CONFLICT" then schema.raise(message) end
  if not fd then return nil, message, code end
  loop.signal_fd, active = fd, loop
  local ok, problem = coroutine.resume(thread, loop)
  active = nil
  core.signals_restore()
  if coroutine.status(thread) == "suspended" then
    schema.raise("a callback yielded out of run(); use start() and step() in an event loop")
  end
  if not ok then error(problem, 0) end
  return true
end

-- Methods -------------------------------------------------------------------

local methods, lasting = {}, {}

function methods:start()
  return start(self)
end

function methods:run(given)
  local ok, message, code = run_loop({ self }, check.run(given))
  if not ok then return nil, message, code end
  return result(self)
end

function methods:stop()
  begin_close(self, "finish", stop_timeout(self))
  return true
end

function methods:fd()
  return self.core:fd()
end

function methods:commit(timeout)
  timeout = check.commit(timeout)
  return request(self, timeout, self.core.commit_done, self.core:commit_begin())
end

function methods:seek(given)
  local to = check.seek(given)
  return request(self, to.timeout, self.core.seek_done,
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

local PAGE_TIMEOUT = 30

-- The parked records after the one that 'at' names; an empty list at the end.
local function next_page(self, at)
  while at.member < self.members do
    local page, message, code = request(self, PAGE_TIMEOUT, self.core.parked_done,
      self.core:parked_begin(at.member, at.topic, at.partition, at.offset))
    if not page then return nil, message, code end
    local last = page[#page]
    if last then
      at.topic, at.partition, at.offset = last.topic, last.partition, last.offset + 1
      return page
    end
    at.member, at.topic, at.partition, at.offset = at.member + 1, "", 0, 0
  end
  return {}
end

-- Copies, page by page: whoever is parked, resolved or taken away meanwhile
-- disturbs no other. What fails after the first page raises.
function methods:parked()
  local at = { member = 0, topic = "", partition = 0, offset = 0 }
  local page, message, code = next_page(self, at)
  if not page then return nil, message, code end
  local i = 0
  return function()
    i = i + 1
    if i > #page and #page > 0 then
      if self.result then schema.raise("attempt to use a closed consumer") end
      page, message = next_page(self, at)
      if not page then schema.raise(message) end
      i = 1
    end
    return page[i]
  end
end

function methods:resolve(record, what, timeout)
  local place = check.resolve(record, what, timeout)
  return request(self, place.timeout, self.core.resolve_done,
    self.core:resolve_begin(place.topic, place.partition, place.offset, place.what))
end

function methods:configure(given)
  local flat, limits = options.configure(given, self.limits)
  local ok, message, code = self.core:configure(flat)
  if not ok then return nil, message, code end
  self.limits = limits
  return true
end

local function is_over(self)
  return self.result ~= nil or self.core:state() == "closed"
end

-- A stopped or failed consumer closes while it is stepped.
function lasting:step(timeout)
  timeout = check.step(timeout)
  if is_over(self) then return nil, "the consumer is closed", "CLOSED" end
  if self.core:state() == "new" then
    return nil, "the consumer has not been started", "NOT_STARTED"
  end
  wait({ self }, timeout)
  local count = self.pump:serve()
  advance(self)
  return count
end

function lasting:close(given)
  local wanted = check.close(given)
  return close(self, wanted.mode, wanted.timeout)
end

function lasting:health()
  if is_over(self) then return nil, "the consumer is closed", "CLOSED" end
  return self.core:health()
end

function lasting:report()
  return text.report(self.core:report())
end

function lasting:stats()
  return self.core:stats()
end

local class = object.class("consumer", "strand.Consumer", methods, lasting)

-- Opening -------------------------------------------------------------------

function consumer.open(given)
  object.refuse_before_fork "consumer"
  local flat, own = options.open(given, core.matches)
  local userdata, message, code = core.consumer(flat)
  if message then
    message = properties.hide_secrets(message, flat.kafka)
    if flat.letters then message = properties.hide_secrets(message, flat.letters.kafka) end
  end
  local self, problem
  self, problem, code = object.open(class, {
    limits = own.limits, start_timeout = own.start_timeout, members = flat.members,
  }, userdata, message, code)
  if not self then return nil, problem, code end
  self.pump = pump.new(userdata, own)
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
  end
  return check.run(given)
end

-- strand.run(consumer, ..., options?) -> reports, in the same order
--                                      | nil, message, code, reports
function consumer.run(...)
  local list = { ... }
  local ran, problem, reason = run_loop(list, run_arguments(list, select("#", ...)))
  if not ran then return nil, problem, reason end
  local reports, failed = {}, nil
  for i, self in ipairs(list) do
    local report, message, code, last = result(self)
    reports[i] = report or last
    if not report and not failed then failed = { message, code } end
  end
  if failed then return nil, failed[1], failed[2], reports end
  return reports
end

return consumer
