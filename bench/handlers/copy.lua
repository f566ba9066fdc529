-- Sends each record on to the topic that handler_args names.
local out

return {
  setup = function(topic) out = topic end,
  handle = function(record, context)
    context:produce { topic = out, key = record.key, value = record.value }
  end,
}
