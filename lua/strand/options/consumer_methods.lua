-- consumer_methods.lua: what the methods of a consumer take, configure{} aside

local common = require "strand.options.common"
local schema = require "strand.schema"
local topics = require "strand.topics"

local whole, seconds, enum, func = schema.whole, schema.seconds, schema.enum, schema.func
local fields = schema.fields
local topic, partition = topics.name_kind, common.partition

local methods = {}

methods.close_fields = fields {
  "mode", enum { "finish", "drain", "now", default = "finish",
    doc = "finish what is in flight, everything that was read, or nothing" },
  "timeout", common.timeout { doc = "what takes longer goes on in the background" },
}

function methods.close(given)
  return common.optional(methods.close_fields, given)
end

methods.run_fields = fields {
  "every", seconds { min = 0.001, max = common.DAY, default = 1, doc = "time between two calls of `tick`" },
  "tick", func { doc = "`function(consumer)`: called from the loop" },
  "close", schema.group { members = methods.close_fields, doc = "what the first signal does" },
}

function methods.run(given)
  local checked = common.optional(methods.run_fields, given)
  checked.close = checked.close or methods.close(nil)
  return checked
end

methods.commit = common.wait_timeout

-- nil: until there is something to do.
methods.step = common.serve_timeout

local pause = fields {
  "topic", topic { doc = "the topic" },
  "partition", partition { doc = "one of its partitions; without it, all" },
}

-- -> topic, partition; both nil: everything
function methods.pause(given)
  local checked = common.optional(pause, given)
  if checked.partition and not checked.topic then
    schema.fail("option 'topic'", "required, name of a topic expected")
  end
  return checked.topic, checked.partition
end
methods.resume = methods.pause

methods.seek_fields = fields {
  "topic", topic { required = true, doc = "the topic" },
  "partition", partition { required = true, doc = "its partition" },
  "offset", common.start { doc = "the next record to handle" },
  "time", seconds { min = 0, max = common.LATEST, doc = "the first record of this time or later" },
  "timeout", common.timeout {},
}

-- -> { topic, partition, timeout, kind = "offset" | "time" | "earliest" | "latest", value }
function methods.seek(given)
  local checked = schema.check(methods.seek_fields, given, "")
  checked.kind, checked.value = common.start_of(checked)
  return checked
end

local blockers = whole { min = 1, max = 100000, default = 100 }

function methods.blockers(given)
  return schema.argument(blockers, given, "n")
end

local record_place = fields {
  "topic", topic { required = true },
  "partition", partition { required = true },
  "offset", common.offset { required = true },
}

local resolution = enum { "retry", "discard", "dead_letter", required = true }
local RECORD = "a record, { topic, partition, offset } or its id"

-- A record, or anything else with these fields, or "topic/partition/offset".
local function place_of(record)
  if type(record) == "string" then
    record = common.place_of_id(record)
    if not record then
      schema.fail("argument 'record'", RECORD .. " expected, got a string that is no id")
    end
  elseif type(record) ~= "table" then
    schema.expected("argument 'record'", RECORD, record)
  end
  return schema.check(record_place, schema.known(record_place, record), "argument 'record'")
end

-- -> { topic, partition, offset, what, timeout }
function methods.resolve(record, what, given_timeout)
  local place = place_of(record)
  place.what = schema.argument(resolution, what, "what")
  place.timeout = common.wait_timeout(given_timeout)
  return place
end

return methods
