-- strand: a parallel Kafka consumer that keeps the order of keys, and a
-- partitioned producer
--
--   local strand = require "strand"
--
-- This joins the parts; each is in the file of its name. Used of strand.core
-- here: retry, skip, dead_letter, park, stop (outcomes), metadata_decode,
-- metadata_encode, librdkafka_version (a string).

for _, name in ipairs { "debug", "io" } do
  if type(rawget(_G, name)) ~= "table" then
    error(("strand needs Lua's library '%s', which this program does not have"):format(name), 0)
  end
end

local core = require "strand.core"
local admin = require "strand.admin"
local consumer = require "strand.consumer"
local loop = require "strand.loop"
local mock = require "strand.mock"
local producer = require "strand.producer"
local testing = require "strand.testing"

return {
  _VERSION = require "strand.version",
  librdkafka_version = core.librdkafka_version,

  consumer = consumer.open,
  producer = producer.open,
  admin = admin.open,
  mock = mock.open,
  run = consumer.run,
  loop = loop,

  -- Outcomes, to be returned or thrown by a handler.
  retry = core.retry,
  skip = core.skip,
  dead_letter = core.dead_letter,
  park = core.park,
  stop = core.stop,

  -- For unit tests of handlers.
  testing = testing,

  -- What a commit's metadata says, for tools.
  metadata = { decode = core.metadata_decode, encode = core.metadata_encode },
}
