-- consume.lua: many records through the engine, in a test
--
--   local report = strand.testing.consume({ handler = f }, { { key = "7", value = "paid" } })
--
-- Local mode in the caller's thread, without a group and a broker: bodies, seats, engine, retries
-- and commits are a consumer's. The time is the run's own: it stands still while something can go
-- on, and then it is when something can again.
--
--   turn -> feed -> what was sent and told -> handlers -> ... nothing more to do? advance
--
-- Used of strand.core:
--
-- core.driver(flat, group, start_time) -> driver | nil, message, code
-- driver:local_open(...)              as of a consumer: bodies.lua
-- driver:assign(topic, partition)     -> its number | nothing: no route
-- driver:feed(number, flat record)    -> whether it could be read now
-- driver:drained(number, boolean)     all of the partition was read
-- driver:turn()                       what the owner of a consumer does in one
-- driver:advance(max_time)            -> "moved" | "limit" | "nothing"
-- driver:seconds()                    since the run began
-- driver:next_outputs() next_letter() -> number, offset, list of what was sent | nothing
-- driver:next_note()                  -> { type, number, offset, attempt, seconds, delay, reason } | nothing
-- driver:next_event() next_log()      as of a consumer
-- driver:stopped()                    -> code, message | nothing
-- driver:left(number)                 -> { offset, state, offset, state, ... }: what is not done
-- driver:halt()                       what has ended counts, and what no handler has begun comes back
-- driver:commit()   driver:committed(number) -> offset, metadata | nothing
-- driver:stats()    driver:close()

local bodies = require "strand.bodies"
local check = require "strand.options.consume"
local core = require "strand.core"
local schema = require "strand.schema"
local text = require "strand.text"

local run = {}
run.__index = run

-- Calls of handlers -----------------------------------------------------------

-- Many begin and end at one time: in which order.
local function next_moment(self)
  self.moments = self.moments + 1
  return self.moments
end

local function end_call(self, call)
  call.ended = self.driver:seconds()
  self.end_moment[call] = next_moment(self)
end

-- A batch is a table of records.
local function begin_call(self, body, subject)
  local call = { records = {}, attempt = 0, began = self.driver:seconds() }
  for i, record in ipairs(type(subject) == "table" and subject or { subject }) do
    local index = self.index_of[record.id]
    local result = self.results[index]
    call.records[i], self.order[#self.order + 1] = index, index
    call.attempt = math.max(call.attempt, record.attempt)
    result.attempts, result.calls[#result.calls + 1] = record.attempt, call
  end
  self.calls[#self.calls + 1], self.resumed = call, 0
  self.begin_moment[call], self.running[body] = next_moment(self), call
  return call
end

-- Handlers that are resumed again and again at one time would be so for ever.
local RESUMED_MOST = 100000

local function watch_resumes(self, functions)
  local turn = functions.turn
  function functions.turn(...)
    self.resumed = self.resumed + 1
    if self.resumed > RESUMED_MOST then
      error(("handlers were resumed %d times and no time went on: context:sleep(0) does not wait")
        :format(RESUMED_MOST), 0)
    end
    return turn(...)
  end
end

-- What bodies ask of C goes through here, so that the report knows of it.
local function watch_calls(self, functions)
  local next, defer, answer = functions.next, functions.defer, functions.answer
  local by_context, deferred = setmetatable({}, { __mode = "k" }), {}
  functions.run, functions.relay = nil, nil -- C would not call this next()
  function functions.next(body, ...)
    local before = self.running[body]
    if before then
      end_call(self, before) -- a deferred one ends again, with done()
      self.running[body] = nil
    end
    local handler, record, context = next(body, ...)
    if handler then
      local call = begin_call(self, body, record)
      if context then by_context[context] = call end -- it takes one
    end
    return handler, record, context
  end
  function functions.defer(context)
    local number, serial = defer(context)
    deferred[number .. ":" .. serial] = by_context[context]
    return number, serial
  end
  function functions.answer(number, serial, ...)
    local ok, message, code = answer(number, serial, ...)
    if ok then end_call(self, deferred[number .. ":" .. serial]) end
    return ok, message, code
  end
end

-- Handlers of worker threads have no coroutine that could wait.
local function refuse_waits(methods)
  for _, name in ipairs { "sleep", "defer" } do
    methods[name] = function()
      schema.raise(("context:%s() is for handlers with workers = 0 or the option 'loop': a worker "
        .. "thread waits by whatever blocks it"):format(name))
    end
  end
end

-- What comes of it ------------------------------------------------------------

local function result_at(self, number, offset)
  return self.results[self.partitions[number].index_at[offset]]
end

local function take_outputs(self, number, offset, list)
  if not number then return false end
  local result = result_at(self, number, offset)
  for _, output in ipairs(list) do
    result.produced[#result.produced + 1] = output
    self.produced[#self.produced + 1] = output
  end
  return true
end

local function take_letter(self, number, offset, list)
  if not number then return false end
  result_at(self, number, offset).dead_letter = list[1]
  self.dead_letters[#self.dead_letters + 1] = list[1]
  return true
end

local ENDINGS = { skipped = true, dead_lettered = true, lost = true }

local function take_note(self, note)
  if not note then return false end
  local result = result_at(self, note.number, note.offset)
  if note.type == "failed" then
    result.reason, result.delay = note.reason, note.delay
    result.failures[#result.failures + 1] = { attempt = note.attempt, reason = note.reason,
      delay = note.delay, at = note.seconds }
    local most = self.max_attempts -- one that passed its deadline has no delay yet
    if note.attempt > most or note.delay and note.attempt == most then self.ended = "max_attempts" end
  elseif ENDINGS[note.type] then
    result.state, result.reason = note.type, note.reason or result.reason
  elseif note.type == "parked" then
    result.reason = note.reason
  end
  return true
end

local function take_event(self, event)
  if not event then return false end
  if self.on_event then self.on_event(text.event(event)) end
  return true
end

local function take_line(self, level, ...)
  if not level then return false end
  if self.log then self.log(level, ...) end
  return true
end

-- -> how much
local function take_all(self)
  local driver, count = self.driver, 0
  while take_outputs(self, driver:next_outputs()) do count = count + 1 end
  while take_letter(self, driver:next_letter()) do count = count + 1 end
  while take_note(self, driver:next_note()) do count = count + 1 end
  while take_event(self, driver:next_event()) do count = count + 1 end
  while take_line(self, driver:next_log()) do count = count + 1 end
  return count
end

-- Running ---------------------------------------------------------------------

-- Partitions take turns, as queues of a consumer do. -> how many were read
local function feed(self)
  local driver, total = self.driver, 0
  local read
  repeat
    read = 0
    for number, partition in ipairs(self.partitions) do
      local flat = partition.list[partition.next]
      if flat and driver:feed(number, flat) then
        partition.next, read = partition.next + 1, read + 1
      end
    end
    total = total + read
  until read == 0
  for number, partition in ipairs(self.partitions) do
    driver:drained(number, partition.list[partition.next] == nil)
  end
  return total
end

local function is_over(self)
  if self.ended then return true end
  if self.code then return self.bodies.core.count() == 0 end
  return false
end

local function take_stop(self)
  local code, message = self.driver:stopped()
  self.code, self.message = code, message
end

-- At one time without a step there is no more to do, unless memory has run out.
local STILL_MOST = 1000

local function advance(self)
  local before = self.driver:seconds()
  local move = self.driver:advance(self.max_time)
  if move == "limit" then self.ended = "max_time" end
  if move == "nothing" then self.ended = "finished" end
  self.still = self.driver:seconds() > before and 0 or self.still + 1
  self.resumed = 0
  if self.still > STILL_MOST then error "not enough memory" end
end

function run:go()
  repeat
    self.driver:turn()
    local count = feed(self) + take_all(self)
    if self.ended then break end
    count = count + self.bodies:serve()
    take_stop(self)
    if count == 0 then
      if is_over(self) then break end
      advance(self)
    end
  until is_over(self) and count == 0
end

-- The report ------------------------------------------------------------------

local LASTING = { done = true, skipped = true, dead_lettered = true, lost = true }

-- What is not done says so; the rest is, or has ended in another way.
local function set_states(self)
  for number, partition in ipairs(self.partitions) do
    local left = self.driver:left(number)
    for i = 1, #left, 2 do result_at(self, number, left[i]).state = left[i + 1] end
    for i = partition.next, #partition.list do
      self.results[self.index_of[partition.list[i].id]].state = "unread"
    end
  end
  for _, result in ipairs(self.results) do result.state = result.state or "done" end
end

-- One that yielded for nobody ended when it was found to have.
local function close_calls(self)
  for _, result in ipairs(self.results) do
    local call, failure = result.calls[#result.calls], result.failures[#result.failures]
    if call and result.state == "running" then
      call.ended = nil
      self.end_moment[call] = nil
    elseif call and not call.ended then
      call.ended = failure and failure.at or call.began
      self.end_moment[call] = self.begin_moment[call]
    end
    if result.state == "waiting" and failure and failure.delay then
      result.retry_at = failure.at + failure.delay
    end
    if result.state ~= "waiting" then result.delay = nil end
  end
end

-- How many calls of handlers ran at once.
local function most_at_once(self)
  local steps, count, most = {}, 0, 0
  for _, call in ipairs(self.calls) do
    local begun, ended = self.begin_moment[call], self.end_moment[call]
    if begun ~= ended then
      steps[begun] = 1
      if ended then steps[ended] = -1 end
    end
  end
  for i = 1, self.moments do
    count = count + (steps[i] or 0)
    most = math.max(most, count)
  end
  return math.max(most, #self.calls > 0 and 1 or 0)
end

local function is_in(ranges, offset)
  for _, range in ipairs(ranges) do
    if offset >= range[1] and offset <= range[2] then return true end
  end
  return false
end

-- Whether what the group has says that the record is done.
local function is_covered(committed, metadata, offset)
  if not committed then return false end
  if offset < committed then return true end
  if metadata == "" then return false end
  local decoded = assert(core.metadata_decode(committed, metadata))
  return offset <= decoded.highest and not is_in(decoded.incomplete, offset)
end

-- What another process would handle again, if this one died now.
local function find_repeats(self)
  local list = {}
  for number, partition in ipairs(self.partitions) do
    local committed, metadata = self.driver:committed(number)
    for _, flat in ipairs(partition.list) do
      local result = result_at(self, number, flat.offset)
      if result.attempts > 0 and not is_covered(committed, metadata, flat.offset) then
        list[#list + 1] = result
      end
    end
  end
  return list
end

local function committed_of(self)
  local list = {}
  self.driver:commit()
  for number, partition in ipairs(self.partitions) do
    local offset, metadata = self.driver:committed(number)
    if offset then
      list[#list + 1] = { topic = partition.topic, partition = partition.partition,
        offset = offset, metadata = metadata }
    end
  end
  return list
end

local CANNOT_START = { buffered = true, unread = true }

local function add_lists(self, report)
  local parked, lost, starts = 0, 0, false
  for _, result in ipairs(self.results) do
    local state = result.state
    if not LASTING[state] then report.unfinished[#report.unfinished + 1] = result end
    if state == "running" or (self.ended == "finished" and CANNOT_START[state]) then
      report.blocked[#report.blocked + 1] = result
    end
    if state == "parked" then parked = parked + 1 end
    if state == "lost" then lost = lost + 1 end
    starts = starts or CANNOT_START[state]
  end
  report.unfinished_total, report.parked, report.lost = #report.unfinished, parked, lost
  if self.ended == "finished" and #report.blocked > 0 then report.ended = "blocked" end
end

function run:report()
  repeat self.driver:halt() until take_all(self) == 0
  set_states(self)
  close_calls(self)
  local counts = self.driver:stats()
  local report = {
    records = self.results, calls = self.calls, order = self.order, produced = self.produced,
    dead_letters = self.dead_letters, most_at_once = most_at_once(self), seconds = self.driver:seconds(),
    ended = self.code and "stopped" or self.ended, code = self.code, message = self.message,
    done = counts.done, failed = counts.failed, skipped = counts.skipped,
    dead_lettered = counts.dead_lettered, unfinished = {}, blocked = {}, repeats = find_repeats(self),
  }
  add_lists(self, report)
  report.committed = committed_of(self)
  return text.report(report)
end

-- Opening ---------------------------------------------------------------------

local function add_result(self, index, flat)
  self.index_of[flat.id] = index
  self.results[index] = { id = flat.id, topic = flat.topic, partition = flat.partition,
    offset = flat.offset, key = flat.key, attempts = 0, calls = {}, failures = {}, produced = {} }
end

local function place_of(self, flat)
  local partition = self.partition_at[flat.place]
  if partition then return partition end
  partition = { topic = flat.topic, partition = flat.partition, list = {}, next = 1, index_at = {} }
  if not self.driver:assign(flat.topic, flat.partition) then
    schema.fail("option 'handler'", ("no route for the topic '%s'"):format(flat.topic))
  end
  self.partitions[#self.partitions + 1] = partition
  self.partition_at[flat.place] = partition
  return partition
end

local function add_records(self, records)
  for index, flat in ipairs(records) do
    add_result(self, index, flat)
    local partition = place_of(self, flat)
    partition.list[#partition.list + 1] = flat
    partition.index_at[flat.offset] = index
  end
end

-- What teardown raises is told at the end.
local function owner_of(self)
  return { dispatcher = { log = function(_, _, _, message) self.problem = message end } }
end

local function weak()
  return setmetatable({}, { __mode = "k" })
end

local function open(given, records)
  local flat, beside, settings = check.open(given, records, core.matches)
  local driver, message, code = core.driver(flat, settings.group, settings.start_time or os.time())
  if not driver then return nil, message, code end
  local self = setmetatable({ driver = driver, max_time = settings.max_time,
    max_attempts = settings.max_attempts, on_event = beside.on_event, log = beside.log,
    results = {}, index_of = {}, partitions = {}, partition_at = {}, calls = {}, order = {},
    produced = {}, dead_letters = {}, running = weak(), begin_moment = {}, end_moment = {},
    moments = 0, still = 0, resumed = 0 }, run)
  return self, beside, settings
end

local function load(self, beside, settings)
  self.bodies = bodies.new(owner_of(self), self.driver, beside.bodies)
  if settings.threads then refuse_waits(self.bodies.core.methods) end
  watch_calls(self, self.bodies.core)
  watch_resumes(self, self.bodies.core)
  add_records(self, settings.records)
  return self.bodies:load()
end

local function run_all(self, beside, settings)
  local ok, message, code = load(self, beside, settings)
  if not ok then return nil, message, code end
  self:go()
  return self:report()
end

local function finish(self)
  if self.bodies then self.bodies:finish() end
  self.driver:close()
end

-- Gives what 'f' does, after the end; an error of it as it is.
local function after_all(self, ok, ...)
  finish(self)
  if not ok then error(..., 0) end
  if self.problem then error(self.problem, 0) end
  return ...
end

--- -> report | nil, message, code
return function(given, records)
  local self, beside, settings = open(given, records)
  if not self then return nil, beside, settings end
  return after_all(self, pcall(run_all, self, beside, settings))
end
