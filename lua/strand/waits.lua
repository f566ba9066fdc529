-- waits.lua: every method that may wait, in one table
--
-- In an event loop (strand.loop) these yield. Where they cannot, they do nothing, and return
-- nil, message, "CANNOT_WAIT".
--
--   true      it waits
--   "begins"  the same, but what it asks for is begun also where it cannot be waited for
--   false     one would think so, but it does not wait

return {
  consumer = { commit = true, seek = true, parked = true, resolve = true, close = "begins",
    start = false, pause = false, resume = false, configure = false, stop = false },
  producer = { send_wait = true, flush = true, begin = true, commit = true, abort = true,
    close = "begins", send_offsets = false, configure = false },
  delivery = { wait = true },
  admin = { create_topics = true, create_partitions = true, delete_topics = true,
    group_offsets = true, alter_config = true, describe = true, groups = true,
    list_offsets = true, lag = true, reset_offsets = true, delete_group_offsets = true,
    delete_records = true, read = true, close = "begins" },
}
