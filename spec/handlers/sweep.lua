-- Reads all of a record, fails every second one at first, and makes garbage:
-- so a worker's state allocates wherever it can.
local suffix

return {
  setup = function(args)
    suffix = table.concat(args.list, ",")
  end,
  handle = function(record, context)
    local copy = record:copy()
    local text = record.id .. record.key .. record:header "h" .. #record.headers
    if record.attempt == 1 and record.offset % 2 == 0 then
      return context:retry(0.001, text .. copy.value .. suffix)
    elseif record.attempt == 1 and record.offset % 3 == 0 then
      error(text)
    end
  end,
  teardown = function()
    suffix = nil
  end,
}
