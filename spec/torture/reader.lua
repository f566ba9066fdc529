-- Who reads the crash test's dead letters, as spec/torture/handler.lua does
-- its records:
--
--   letter PARTITION OFFSET of it, PARTITION OFFSET of the record, KEY NUMBER ATTEMPTS SECONDS
--
-- SECONDS say when the broker took it, before it acknowledged it.
local log

return {
  setup = function(path) log = assert(io.open(path, "ab")) end,
  teardown = function() log:close() end,
  handle = function(letter)
    local header = {}
    for _, pair in ipairs(letter.headers) do header[pair[1]] = pair[2] end
    log:write(("%-63s\n"):format(("letter %d %d %s %s %s %s %s %.3f"):format(letter.partition,
      letter.offset, header["strand.partition"], header["strand.offset"], letter.key,
      letter.value, header["strand.attempts"], letter.timestamp)))
    log:flush()
  end,
}
