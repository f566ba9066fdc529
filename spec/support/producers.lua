-- Producers for specs, where Kafka is, or where none is.
local helper = require "spec.support.helper"
local strand = require "strand"

local producers = { UNREACHABLE = "127.0.0.1:1" }

function producers.quiet() end

--- With the options that are given; the broker comes by itself.
function producers.open(options)
  options = options or {}
  options.kafka = options.kafka or {}
  options.kafka["bootstrap.servers"] = options.kafka["bootstrap.servers"] or helper.bootstrap()
  return assert(strand.producer(options))
end

--- One that reaches no broker, and says nothing of it unless 'log' is given.
function producers.unreachable(options)
  options = options or {}
  options.kafka = { ["bootstrap.servers"] = producers.UNREACHABLE }
  if options.log == nil then options.log = producers.quiet end
  return producers.open(options)
end

return producers
