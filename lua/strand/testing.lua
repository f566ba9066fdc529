-- testing.lua: unit tests of handlers, without a broker or a thread
--
--   local record = strand.testing.record { topic = "orders", key = "7", value = "paid" }
--   local result = strand.testing.run("reconcile", record)
--   assert(result.kind == "retry" and result.delay == 5)
--
-- The handler runs in the caller's state, so that a test can give it fakes.
-- Records, batches, and the reading of what it returns or raises are the
-- worker's own code. Used of strand.core:
--
-- core.testing_record(flat) -> record
-- core.testing_call(handler, context, { record, ... }, batch, produce)
--                           -> { { kind, reason, delay }, ... }; produce: the method of a batch
-- core.retry skip dead_letter park stop

local bodies = require "strand.bodies"
local consume = require "strand.consume"
local core = require "strand.core"
local check = require "strand.options.testing"
local check_record = require "strand.options.producer".send
local schema = require "strand.schema"

local testing = {}

--- A record, as a handler gets it; valid for as long as it is kept.
function testing.record(given)
  return core.testing_record(check.record(given))
end

-- The context ---------------------------------------------------------------

-- What a method needs to know, by the context.
local secrets = setmetatable({}, { __mode = "k" })

local function secret_of(self, name)
  local secret = secrets[self]
  if not secret then schema.raise(name .. " is a method: call it with a colon") end
  return secret
end

local methods = {}

for _, name in ipairs { "retry", "skip", "dead_letter", "park", "stop" } do
  local make = core[name]
  methods[name] = function(self, ...)
    secret_of(self, name)
    return make(...)
  end
end

function methods:stop_consumer()
  secret_of(self, "stop_consumer").stopped = true
end

function methods:remaining()
  return secret_of(self, "remaining").remaining
end

-- What record 'i' of the call that runs produces, as the test sees it: the
-- fields that were given, headers as a list of pairs.
local function stage(secret, i, given)
  local sent, headers = check_record(given), nil
  for at = 1, sent.headers and #sent.headers or 0, 2 do
    headers = headers or {}
    headers[#headers + 1] = { sent.headers[at], sent.headers[at + 1] or nil }
  end
  local list = secret.produced[i]
  list[#list + 1] = { topic = sent.topic, key = sent.key, value = sent.value, headers = headers,
    timestamp = sent.timestamp, partition = sent.partition, partition_key = sent.partition_key }
end

function methods:produce(given)
  local secret = secret_of(self, "produce")
  if not secret.produced then
    schema.raise "context:produce() outside of a handler"
  elseif secret.batch then
    schema.raise("context:produce() in a batch: each output belongs to a record: "
      .. "batch:produce(i, {...})")
  end
  stage(secret, 1, given)
end

-- The method of the batch of 'count' records that is handled with 'secret'.
local function batch_produce(secret, count)
  return function(self, i, given)
    if type(self) ~= "table" then
      schema.raise "batch:produce() is a method: call it with a colon"
    elseif not secret.produced then
      schema.raise "batch used after its handler returned"
    elseif type(i) ~= "number" or i % 1 ~= 0 or i < 1 or i > count then
      schema.raise(("batch:produce(i): the number of a record expected, 1 to %d"):format(count))
    end
    stage(secret, i, given)
  end
end

for _, name in ipairs { "sleep", "defer" } do
  methods[name] = function()
    schema.raise(("context:%s() is not of strand.testing.run, which calls a handler once: "
      .. "strand.testing.consume has it"):format(name))
  end
end

local context = { __name = "strand.Context" }

function context.__index(self, name)
  local secret = secrets[self]
  if name == "args" or name == "worker" then return secret[name] end
  return methods[name]
end

function context.__newindex()
  schema.raise "the context cannot be changed"
end

function context.__tostring()
  return "strand.Context (of a test)"
end

--- A context, as a handler gets it.
function testing.context(given)
  local self = setmetatable({}, context)
  secrets[self] = check.context(given)
  return self
end

-- Running a handler ---------------------------------------------------------

local function refuse(problem)
  schema.fail("argument 'handler'", problem)
end

-- The function of a module that a route with or without batches calls.
local function function_of(module, batch)
  if type(module) == "function" then return module end
  local name, other = "handle", "handle_batch"
  if batch then name, other = other, name end
  if type(module) ~= "table" then
    schema.expected("argument 'handler'", "function, module or its name", module)
  elseif type(module[name]) == "function" then
    return module[name]
  elseif type(module[other]) == "function" then
    refuse(("the module has '%s', which takes %s"):format(other,
      batch and "a record" or "a list of records"))
  end
  refuse(("the module is a table without a function '%s'"):format(name))
end

local function is_record(value)
  return type(value) == "userdata"
end

local function check_records(subject)
  if is_record(subject) then return { subject }, false end
  if type(subject) ~= "table" or not is_record(subject[1]) then
    schema.expected("argument 'record'", "a record of strand.testing.record, or a list of them",
      subject)
  elseif not schema.list_length(subject) then
    schema.fail("argument 'record'", "a list of records without holes expected, got a mixed one")
  end
  return subject, true
end

local function optional(module, name)
  local method = type(module) == "table" and module[name] or nil
  if method ~= nil and type(method) ~= "function" then
    refuse(("'%s' of the module is a %s, function expected"):format(name, type(method)))
  end
  return method
end

-- What modules were set up with. A worker has one value of handler_args: with
-- another one it is another worker.
local set_up = setmetatable({}, { __mode = "k" })

local function prepare(module, args)
  if type(module) ~= "table" then return end
  local setup, teardown = optional(module, "setup"), optional(module, "teardown")
  local before = set_up[module]
  if before and rawequal(before.args, args) then return end
  set_up[module] = nil
  if before and teardown then teardown() end
  if setup then
    local problem = bodies.setup_failure(setup(args))
    if problem then schema.raise("setup failed: " .. problem) end
  end
  set_up[module] = { args = args }
end

-- Only what is done sends what it has produced.
local function describe(results, secret)
  for i, result in ipairs(results) do
    result.stop_consumer = secret.stopped or false
    result.produced = result.kind == "done" and secret.produced[i] or {}
  end
  secret.produced = nil
end

--- What would become of the record: { kind, reason, delay, stop_consumer,
--- produced }; of a list of records, which is a batch, a list of these.
function testing.run(handler, subject, with)
  local records, batch = check_records(subject)
  local module = handler
  if type(handler) == "string" then module = require(handler) end
  local handle = function_of(module, batch)
  if with == nil then
    with = testing.context()
  elseif not secrets[with] then
    schema.expected("argument 'context'", "a context of strand.testing.context", with)
  end
  local secret = secrets[with]
  prepare(module, secret.args)
  secret.stopped, secret.batch, secret.produced = nil, batch, {}
  for i = 1, #records do secret.produced[i] = {} end
  local results = core.testing_call(handle, with, records, batch, batch_produce(secret, #records))
  describe(results, secret)
  return batch and results or results[1]
end

--- Many records, through the engine: consume.lua.
testing.consume = consume

return testing
