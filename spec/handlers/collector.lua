-- Writes down each record whole, a line each, for spec/support/letters.lua.
local function hex(bytes)
  if bytes == nil then return "-" end
  return "=" .. bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
end

return function(record, context)
  local words = { record.topic, record.partition, record.offset, hex(record.key),
    hex(record.value), record.timestamp and ("%.3f"):format(record.timestamp) or "-" }
  for _, header in ipairs(record.headers) do
    words[#words + 1] = hex(header[1])
    words[#words + 1] = hex(header[2])
  end
  local file = assert(io.open(context.args, "ab"))
  file:setvbuf("full", 65536)
  file:write(table.concat(words, " "), "\n")
  file:close() -- one write(): lines of several workers do not mix
end
