-- handling.lua: how records are handled, and what becomes of those that fail
--
-- Kinds that a consumer has for all records, and a route for its own: retry,
-- exhausted, deadline, batch, rate, max_in_flight.

local common = require "strand.options.common"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, number, seconds, enum = schema.whole, schema.number, schema.seconds, schema.enum
local fields, group = schema.fields, schema.group
local DAY = common.DAY

local handling = {}

-- Failures ------------------------------------------------------------------

local policy = fields {
  "attempts", whole { min = 1, max = common.MOST_ATTEMPTS, default = 10, runtime = true,
    doc = "how often a record is tried before it is `exhausted`" },
  "delay", seconds { min = 0, max = DAY, default = 1, runtime = true,
    doc = "wait before the second attempt" },
  "factor", number { min = 1, max = 1000, default = 2, runtime = true,
    doc = "each further wait is so many times as long" },
  "max_delay", seconds { min = 0, max = DAY, default = 60, runtime = true,
    doc = "no wait is longer; at least `delay`" },
  "jitter", number { min = 0, max = 1, default = 0.5, runtime = true,
    doc = "how much of a wait may be cut by chance: delay x (1 - jitter x random)" },
}

local function check_policy(given, label)
  local result = schema.check(policy, given, label)
  if result.max_delay < result.delay then
    if given.max_delay ~= nil then
      schema.fail(schema.child(label, "max_delay"), ("at least 'delay' (%s) expected, got %s")
        :format(schema.describe(result.delay), schema.describe(result.max_delay)))
    end
    result.max_delay = result.delay
  end
  return result
end

function handling.default_retry()
  return { policy = check_policy({}, "") }
end

-- -> { policy, and the function with its label, or nil }
function handling.retry(kind)
  kind.shape = "table, or function(attempt, reason, record) -> seconds or nil"
  kind.members = policy
  kind.check = function(self, given, label)
    if type(given) == "function" then
      local result = check_policy({}, label)
      result.attempts = 0
      return { policy = result, func = given, label = label }
    elseif type(given) ~= "table" then
      schema.expected(label, self.shape, given)
    end
    return { policy = check_policy(given, label) }
  end
  return kind
end

-- What becomes of a record that is not tried again.
function handling.exhausted(kind)
  for i, name in ipairs { "dead_letter", "park", "skip", "stop" } do kind[i] = name end
  return enum(kind)
end

-- Delivery ------------------------------------------------------------------

function handling.delivery(kind)
  kind[1], kind[2], kind[3] = "at_least_once", "at_most_once", "exactly_once"
  return enum(kind)
end

local TRANSACTIONS = { transaction_interval = 0.5, transaction_records = 10000,
  transaction_timeout = 10 }

function handling.refuse_interval(given)
  if given.commit_interval ~= nil then
    schema.fail(schema.child("", "commit_interval"), "means nothing with delivery = "
      .. "'exactly_once': 'transaction_interval' does")
  end
end

-- The options of transactions come with exactly_once, and what they stand for
-- goes. 'checked' gets their defaults.
function handling.check_transactions(checked, given)
  if checked.delivery ~= "exactly_once" then
    for _, name in ipairs { "transactional_id", "transaction_interval", "transaction_records",
      "transaction_timeout" } do
      if given[name] ~= nil then
        schema.fail(schema.child("", name), "only with delivery = 'exactly_once'")
      end
    end
    return
  end
  if not checked.transactional_id then
    schema.fail(schema.child("", "transactional_id"), "required with delivery = 'exactly_once'")
  end
  handling.refuse_interval(given)
  for name, default in pairs(TRANSACTIONS) do checked[name] = checked[name] or default end
  if checked.transaction_interval >= checked.transaction_timeout then
    schema.fail(schema.child("", "transaction_interval"), ("less than 'transaction_timeout' (%s) "
      .. "expected, got %s"):format(schema.describe(checked.transaction_timeout),
      schema.describe(checked.transaction_interval)))
  end
end

local SECOND_ATTEMPTS = { "retry", "parked_holds" }

-- At most once a record that has started does not start again. 'given': of the
-- consumer (label ""), or of a route.
function handling.refuse_second_attempts(given, label)
  for _, name in ipairs(SECOND_ATTEMPTS) do
    if given[name] ~= nil then
      schema.fail(schema.child(label, name), "means nothing with delivery = 'at_most_once': "
        .. "a failure is final")
    end
  end
  if given.exhausted == "park" then
    schema.fail(schema.child(label, "exhausted"), "'park' means nothing with delivery = "
      .. "'at_most_once': a parked record would start again ('dead_letter', 'skip', 'stop')")
  end
end

-- Limits --------------------------------------------------------------------

-- configure{} may take them away again: false is none.
local function or_false(kind, none)
  local check = kind.check
  kind.shape = kind.shape .. ", or false: none"
  kind.check = function(self, value, label)
    if value == false then return none end
    return check(self, value, label)
  end
  return kind
end

function handling.time_in_handler(kind)
  kind.min, kind.max = 0.001, DAY
  return or_false(seconds(kind), 0)
end

local MOST_PER_SECOND = 1e9

function handling.rate(runtime)
  local members = fields {
    "records_per_second", number { min = 0.000001, max = MOST_PER_SECOND, required = true,
      runtime = runtime, doc = "records that start, in the long run" },
    "burst", number { min = 1, max = MOST_PER_SECOND, runtime = runtime,
      default_doc = "`records_per_second`, at least 1",
      doc = "how many may start at once after a pause" },
  }
  local kind = group { members = members, runtime = runtime,
    doc = "how many records start in a second" }
  local check = kind.check
  kind.check = function(self, given, label)
    local result = check(self, given, label)
    result.burst = result.burst or math.max(1, result.records_per_second)
    return result
  end
  return or_false(kind, { records_per_second = 0, burst = 1 })
end

local MOST_IN_BATCH = 10000

function handling.batch()
  return group { doc = "several records for each call; needs a `handle_batch`", members = fields {
    "size", whole { min = 1, max = MOST_IN_BATCH, required = true,
      doc = "records of a batch, at most" },
    "linger", seconds { min = 0, max = DAY, default = 0,
      doc = "how old the oldest record gets while its batch is not full" },
    "by", enum { "mixed", "key", "partition", default = "mixed",
      doc = "what is in a batch: at most one record of each key, records of one key, or of one "
        .. "partition" },
  } }
end

local MOST_IN_FLIGHT = 100000

function handling.max_in_flight(kind)
  kind.min, kind.max = 1, MOST_IN_FLIGHT
  return whole(kind)
end

handling.route = fields {
  "handler", topics.handler_kind { required = true,
    doc = "handles the records of this route" },
  "retry", handling.retry { doc = "instead of the consumer's" },
  "exhausted", handling.exhausted { doc = "instead of the consumer's" },
  "deadline", handling.time_in_handler { doc = "instead of the consumer's" },
  "batch", handling.batch(),
  "rate", handling.rate(),
  "max_in_flight", handling.max_in_flight {
    doc = "calls of this route's handler at once" },
}

return handling
