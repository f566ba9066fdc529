-- testing.lua: what strand.testing takes

local common = require "strand.options.common"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, seconds, enum, data = schema.whole, schema.seconds, schema.enum, schema.data

local testing = {}

local record = schema.fields {
  "id", data { doc = "ignored: so that a copy of a record can be given" },
  "topic", topics.name_kind { default = "topic", doc = "of its id too" },
  "partition", common.partition { default = 0, doc = "its number" },
  "offset", common.offset { default = 0, doc = "its place" },
  "key", data { doc = "absent: nil" },
  "value", data { doc = "absent: nil" },
  "headers", common.headers,
  "timestamp", seconds { min = 0, max = common.LATEST, doc = "absent: nil" },
  "timestamp_type", enum { "create", "append", default_doc = '`"create"`',
    doc = "of a record with a timestamp" },
  "attempt", whole { min = 1, max = common.MOST_ATTEMPTS, default = 1, doc = "1: the first" },
  "leader_epoch", whole { min = 0, max = 2147483647, doc = "absent: nil" },
}

-- -> flat table for C
function testing.record(given)
  local flat = common.optional(record, given)
  flat.id = nil
  if flat.timestamp then
    flat.timestamp_ms = math.floor(flat.timestamp * 1000 + 0.5)
    flat.timestamp_type = flat.timestamp_type == "append" and 2 or 1
  else
    flat.timestamp_type = nil
  end
  return flat
end

local context = schema.fields {
  "args", schema.custom { shape = "anything", check = function(_, value) return value end,
    doc = "what `handler_args` would be" },
  "worker", whole { min = 1, max = 1000000, default = 1, doc = "its thread's number" },
  "remaining", seconds { min = 0, max = common.DAY, default_doc = "no deadline",
    doc = "what `context:remaining()` says" },
}

function testing.context(given)
  return common.optional(context, given)
end

return testing
