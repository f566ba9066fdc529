-- What spec/c/lua_sweep.c does, again and again, while memory runs out.
--
-- Each scenario may end by an error at any place: the error then speaks of
-- memory, and after a collection the same works from the start. arm() makes
-- allocations fail from now on, calm() no more; failed() tells whether one did.
local arm, calm, failed, servers, topic = ...

local scenarios = {}
local groups = 0

local function must(value, message, code)
  if value == nil then error(("%s (%s)"):format(message, code), 0) end
  return value
end

local function kafka(more)
  local properties = { ["bootstrap.servers"] = servers, ["linger.ms"] = 0 }
  if more then
    groups = groups + 1
    properties["linger.ms"] = nil
    properties["group.id"] = ("sweep-%s-%d"):format(tostring({}), groups)
    properties["fetch.wait.max.ms"] = 10
  end
  return properties
end

local function policy(attempt, reason)
  return #reason > 100000 and attempt or 0.001
end

local function options(on_event)
  return {
    kafka = kafka(true), topics = { topic }, workers = 2, ordering = "key",
    handler = { ["^t"] = { "spec.handlers.sweep", retry = policy }, ["^u"] = function() end },
    handler_args = { list = { "a", "b" }, deep = { { 1 } } }, on_event = on_event,
    log = function() end, commit_interval = 0.1,
  }
end

function scenarios.loading()
  arm()
  local strand = require "strand"
  calm()
  assert(type(strand.consumer) == "function")
end

function scenarios.opening()
  local strand = require "strand"
  arm()
  local text = must(strand.metadata.encode(3, 9, { { 4, 4 }, { 6, 7 } }))
  assert(must(strand.metadata.decode(3, text)).highest == 9)
  local producer = must(strand.producer { kafka = kafka() })
  local admin = must(strand.admin { kafka = kafka() })
  local consumer = must(strand.consumer(options()))
  consumer:stats()
  consumer:health()
  must(consumer:pause { topic = topic, partition = 0 })
  must(consumer:close())
  must(admin:close())
  must(producer:close())
  calm()
end

-- Of the admin, what the mock cluster answers.
function scenarios.asking()
  local strand = require "strand"
  local admin = must(strand.admin { kafka = kafka(), log = function() end })
  must(admin:describe { topics = { topic } })
  arm()
  assert(#must(admin:describe { topics = { topic } }).topics[topic].partitions == 1)
  local place = must(admin:list_offsets { topics = { topic }, offset = "latest" })[1]
  local lag = must(admin:lag("asking", { topic }, 20))
  assert(lag.total == place.offset and lag.true_total == place.offset)
  local list = must(admin:read { topic = topic, partition = 0, offset = 0, records = 4 })
  assert(#list == 4 and list[4].offset == 3)
  local _, message, code = admin:groups()
  if code ~= "UNSUPPORTED_FEATURE" then must(nil, message, code) end
  must(admin:close())
  calm()
end

function scenarios.starting()
  local strand = require "strand"
  local consumer = must(strand.consumer(options()))
  arm()
  must(consumer:start())
  calm()
  must(consumer:close { mode = "now", timeout = 1 })
end

function scenarios.sending()
  local strand = require "strand"
  local producer = must(strand.producer { kafka = kafka() })
  must(producer:flush(10))
  arm()
  for i = 1, 3 do
    must(producer:send { topic = "other", key = "k" .. i, value = "v", headers = { h = "1" } })
  end
  local batch = { { topic = "other", value = "1" }, setmetatable({ topic = "other" }, {}) }
  if must(producer:send_batch(batch)) ~= 2 then error("the batch is not all sent", 0) end
  local delivery = must(producer:send_async { topic = "other", value = "v", timeout = 20 })
  must(delivery:wait(20))
  local report = must(producer:send_wait { topic = "other", value = "last", timeout = 20 })
  assert(report.offset >= 0)
  must(producer:flush(20))
  must(producer:close())
  calm()
end

-- A consumer that has joined and handled nothing; 'events' counts what it tells.
local function joined(events)
  local strand = require "strand"
  local consumer = must(strand.consumer(options(function(event)
    events[event.type] = (events[event.type] or 0) + 1
  end)))
  must(consumer:pause())
  must(consumer:start())
  while #must(consumer:assignment()) == 0 do must(consumer:step(0.05)) end
  return consumer
end

local function until_done(consumer, count)
  while must(consumer:stats()).done < count do must(consumer:step(0.05)) end
end

function scenarios.running()
  local consumer = joined {}
  arm()
  must(consumer:resume())
  until_done(consumer, 8)
  must(consumer:blockers(10))
  must(consumer:report())
  local sought, message, code = consumer:seek { topic = topic, partition = 0, offset = 0 }
  if not sought and code ~= "TIMED_OUT" then must(nil, message, code) end -- see kafka_sweep.c
  must(consumer:commit(20))
  assert(must(consumer:close()).done >= 8)
  calm()
end

-- What the workers' states allocate.
function scenarios.handling()
  local consumer = joined {}
  arm()
  must(consumer:resume())
  until_done(consumer, 8)
  calm()
  must(consumer:close())
end

-- Nothing that was taken is lost --------------------------------------------

-- Until it does not raise for want of memory. -> what it returned
local function again(action, ...)
  while true do
    local ok, value, message, code = pcall(action, ...)
    if ok then return value, message, code end
    value = tostring(value)
    if value:find "closed consumer" then return end -- it raised behind the end
    if not value:find "memory" then error(value, 0) end
  end
end

local function all(list)
  for _, seen in pairs(list) do
    if not seen then return false end
  end
  return true
end

-- As step() of a program that goes on after it raised.
local function until_all(seen, object, step, limit)
  local deadline = os.time() + limit
  while not all(seen) do
    again(step, object, 0.05)
    if os.time() > deadline then error("something was taken, and is lost", 0) end
  end
end

-- A callback that allocates nothing sees each event.
function scenarios.events()
  local strand = require "strand"
  local seen = {}
  for i = 0, 7 do seen[i] = false end
  local given = options(function(event)
    if event.type == "record_failed" then seen[event.offset] = true end
  end)
  given.handler = function(record) if record.attempt == 1 then error "once" end end
  given.retry = { delay = 0.001 }
  local consumer = must(strand.consumer(given))
  must(consumer:pause())
  must(consumer:start())
  while #must(consumer:assignment()) == 0 do must(consumer:step(0.05)) end
  arm()
  again(consumer.resume, consumer)
  until_all(seen, consumer, consumer.step, 20)
  calm()
  must(consumer:close())
end

-- What a handler asked for ends run().
function scenarios.ending()
  local strand = require "strand"
  local given = options(function() end)
  given.handler = function(_, context) context:stop_consumer() end
  local consumer = must(strand.consumer(given))
  must(consumer:pause())
  must(consumer:start())
  while #must(consumer:assignment()) == 0 do must(consumer:step(0.05)) end
  arm()
  again(consumer.resume, consumer)
  again(consumer.run, consumer)
  calm()
  must(consumer:close())
end

-- Each record's report comes, and a report that nobody will ask for is gone.
function scenarios.reports()
  local strand = require "strand"
  local core = require "strand.core"
  local seen = { k1 = false, k2 = false, k3 = false }
  local producer = must(strand.producer { kafka = kafka(), log = function() end,
    on_delivery = function(report) seen[report.key] = true end })
  must(producer:flush(10))
  arm()
  for i = 1, 3 do
    must(again(producer.send, producer, { topic = "other", key = "k" .. i, value = "v" }))
  end
  until_all(seen, producer, producer.poll, 20)
  local ok, problem = pcall(producer.send_wait, producer, { topic = "other", value = "v" })
  calm()
  if not ok and not tostring(problem):find "memory" then error(problem, 0) end
  must(producer:flush(20))
  producer:poll(0)
  if core.wait({ producer:fd() }, 0) > 0 then error("a report is kept that nobody takes", 0) end
  must(producer:close())
end

-- A record that a batch's handler failed is not done.
function scenarios.marking()
  local strand = require "strand"
  local given = options(function() end)
  local path = os.tmpname()
  given.handler = { ["^t"] = { "spec.handlers.sweep_batches", batch = { size = 3 },
    retry = { delay = 0.001 } } }
  given.handler_args = { path = path }
  local consumer = must(strand.consumer(given))
  must(consumer:pause())
  must(consumer:start())
  while #must(consumer:assignment()) == 0 do must(consumer:step(0.05)) end
  arm()
  must(consumer:resume())
  until_done(consumer, 8)
  calm()
  must(consumer:close())
  local seen, count = {}, 0
  for line in io.lines(path) do
    if not seen[line] then seen[line], count = true, count + 1 end
  end
  os.remove(path)
  if count < 8 then error(("%d records are done that were failed"):format(8 - count), 0) end
end

-- A worker's state without any memory is replaced, once there is memory.
function scenarios.replacing()
  local events = {}
  local consumer = joined(events)
  local done = 0
  arm()
  must(consumer:resume())
  while done < 8 and not failed() do
    must(consumer:step(0.01))
    done = must(consumer:stats()).done
  end
  while failed() and (events.record_failed or 0) == 0 do must(consumer:step(0.01)) end
  calm()
  until_done(consumer, 8)
  must(consumer:close())
end

-- Handlers that are coroutines ------------------------------------------------

-- By a record's offset; the fifth is deferred.
local ways = {
  [0] = function(_, context) context:sleep(0.001) end,
  function(record) if record.attempt == 1 then error(record:copy()) end end,
  function(record, context)
    if record.attempt == 1 then return context:retry(0.001, record.id .. record:header "h") end
  end,
  function(_, context)
    context:produce { topic = "other", key = "k", value = "v", headers = { h = "1" } }
  end,
}

-- 'seen': whose handler is done, by offset; 'deferred': what says so later.
local function local_options(seen, deferred)
  local given = options(function() end)
  given.workers, given.max_in_flight, given.producer = 0, 3, {}
  given.handler = { ["^t"] = { retry = function() return 0.001 end, handler = function(record, context)
    local offset, way = record.offset, ways[record.offset % 5]
    if not way then deferred[offset] = context:defer() end
    local outcome = way and way(record, context)
    seen[offset] = way ~= nil and outcome == nil
    return outcome
  end } }
  return given
end

local function end_deferred(seen, deferred)
  for offset, done in pairs(deferred) do
    if again(done) then seen[offset] = true end
    deferred[offset] = nil
  end
end

local function is_done(consumer)
  local stats = again(consumer.stats, consumer)
  return stats and stats.done == 8
end

local function check_lag(group)
  local strand = require "strand"
  local admin = must(strand.admin { kafka = kafka() })
  local lag = must(admin:lag(group, { topic }, 20))
  if lag.total > 0 then error(("%d records are done and not committed"):format(lag.total), 0) end
  must(admin:close())
end

-- A program that goes on after what raises: each record is handled to its end, and committed.
function scenarios.coroutines()
  local strand = require "strand"
  local seen, deferred = {}, {}
  for i = 0, 7 do seen[i] = false end
  local given = local_options(seen, deferred)
  local consumer = must(strand.consumer(given))
  must(consumer:pause())
  must(consumer:start())
  while #must(consumer:assignment()) == 0 do must(consumer:step(0.05)) end
  arm()
  again(consumer.resume, consumer)
  while not is_done(consumer) do
    again(consumer.step, consumer, 0.05)
    end_deferred(seen, deferred)
  end
  again(consumer.close, consumer)
  calm()
  if not all(seen) then error("a record is done whose handler is not", 0) end
  check_lag(given.kafka["group.id"])
end

-- One that does not: it has closed nothing, and may begin anew.
function scenarios.opening_coroutines()
  local strand = require "strand"
  local seen, deferred = {}, {}
  arm()
  local consumer = must(strand.consumer(local_options(seen, deferred)))
  must(consumer:start())
  must(consumer:close { mode = "now", timeout = 1 })
  calm()
end

local function in_loops()
  local given = options(function() end)
  given.workers, given.loop = 1, "cqueues"
  return given
end

-- What the state of a worker with an event loop allocates. One that ran out of memory before its first
-- record ends its consumer.
function scenarios.handling_in_loops()
  local strand = require "strand"
  local given = in_loops()
  local consumer = must(strand.consumer(given))
  must(consumer:pause())
  must(consumer:start())
  while #must(consumer:assignment()) == 0 do must(consumer:step(0.05)) end
  arm()
  must(consumer:resume())
  while not is_done(consumer) do
    if not consumer:step(0.05) then must(consumer:close()) end
  end
  calm()
  must(consumer:close())
  check_lag(given.kafka["group.id"])
end

function scenarios.starting_loops()
  local strand = require "strand"
  local consumer = must(strand.consumer(in_loops()))
  arm()
  must(consumer:start())
  calm()
  must(consumer:close { mode = "now", timeout = 1 })
end

return scenarios
