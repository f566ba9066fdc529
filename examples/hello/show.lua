-- show.lua
return function(record, context)
  io.write(("worker %d, partition %d, %s: %s\n"):format(context.worker, record.partition,
    record.key, record.value))
end
