-- Reads what most handlers read.
return function(record)
  local key, value, offset = record.key, record.value, record.offset
  if not (key and value and offset) then error("a field is missing") end
end
