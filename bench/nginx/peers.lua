-- peers.lua: strand's producer and lua-resty-kafka's, in a worker of nginx, called alike
--
--   local peer = peers.strand(broker, { on_delivery = f }), peers.resty(broker, { on_lost = f })
--   peer.send(topic, key, value)       -> true | nil, message    queues it
--   peer.keep(topic, key, value, id)   the same; peer.lost(tell) calls tell(id) for each that was
--                                      reported to be lost
--   peer.send_wait(topic, key, value)  -> true | nil, message    when it is acknowledged
--   peer.left()                        0 when nothing is under way
--   peer.flush()                       waits until then

local strand = require "strand"

local peers = {}

local QUIT = 5 -- seconds, about as long as lua-resty-kafka tries

function peers.strand(broker, options)
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = broker },
    on_delivery = options.on_delivery })
  assert(strand.loop.resty.start(producer, { quit_timeout = QUIT }))
  local peer, deliveries = {}, {}

  function peer.send(topic, key, value)
    return producer:send { topic = topic, key = key, value = value }
  end

  function peer.keep(topic, key, value, id)
    local delivery, message = producer:send_async { topic = topic, key = key, value = value }
    if delivery then deliveries[id] = delivery end
    return delivery and true, message
  end

  function peer.lost(tell)
    for id, delivery in pairs(deliveries) do
      local report = delivery:done()
      if report and report.error then tell(id) end
    end
  end

  function peer.send_wait(topic, key, value)
    local report, message = producer:send_wait { topic = topic, key = key, value = value }
    return report and true, message
  end

  function peer.left() return producer:stats().outstanding end
  function peer.flush() assert(producer:flush(120)) end
  return peer
end

-- Its buffer's values are given to error_handle as key, value, key, value; values begin with their
-- id there, as in 'keep'. Without error_handle it writes to error.log how many are lost.
function peers.resty(broker, options)
  local kafka = require "resty.kafka.producer"
  local host, port = broker:match "^(.+):(%d+)$"
  local brokers = { { host = host, port = tonumber(port) } }
  local peer, lost = {}, {}
  local producer = kafka:new(brokers, { producer_type = "async",
    error_handle = options.keeps and function(_, _, queue, count)
      for i = 2, count, 2 do lost[#lost + 1] = queue[i]:match "^%S+" end
    end or nil })
  local waits -- one that waits for each

  function peer.send(topic, key, value) return producer:send(topic, key, value) end
  peer.keep = peer.send

  function peer.lost(tell)
    for _, id in ipairs(lost) do tell(id) end
  end

  function peer.send_wait(topic, key, value)
    waits = waits or kafka:new(brokers, { producer_type = "sync" })
    local offset, message = waits:send(topic, key, value)
    return offset and true, message
  end

  function peer.left()
    local busy = producer.flushing or producer._timer_flushing_buffer
    return producer.ringbuffer:left_num() + (busy and 1 or 0)
  end

  -- What is less than a batch would wait for its timer, for up to a second.
  function peer.flush()
    while peer.left() > 0 do
      if not producer.flushing then producer:flush() end
      ngx.sleep(0.001)
    end
  end

  return peer
end

return peers
