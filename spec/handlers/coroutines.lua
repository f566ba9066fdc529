-- What coroutines do, as text: in a worker the same as anywhere else.
return function()
  local list = {}
  local function note(...)
    local text = {}
    for i = 1, select("#", ...) do text[i] = (tostring(select(i, ...)):gsub("0x%x+", "")) end
    list[#list + 1] = table.concat(text, " ")
  end
  local co = coroutine.create(function(...)
    note("got", ...)
    note("then", coroutine.yield(1, nil, 3))
    return coroutine.status(coroutine.running()), "end"
  end)
  note(coroutine.resume(co, 7, 8, nil))
  note(coroutine.resume(co))
  note(coroutine.resume(co), coroutine.status(co))
  note(coroutine.resume(coroutine.create(function() error "plain" end)))
  note(coroutine.resume(coroutine.create(function() error({}) end)))
  local wrapped = coroutine.wrap(function(...)
    note("wrapped", ...)
    coroutine.yield()
    note(coroutine.yield("a", "b"))
    error "in a wrap"
  end)
  note(wrapped(1, nil))
  note(wrapped())
  note(pcall(wrapped, "c"))
  note(pcall(wrapped))
  note(pcall(wrapped))
  note(pcall(coroutine.wrap(function() error(nil) end)))
  note(pcall(coroutine.wrap(function() error({}) end)))
  note(pcall(function() local f = coroutine.wrap(function() error("no place", 0) end) f() end))
  local self
  self = coroutine.create(function() note(coroutine.resume(self)) end)
  note(coroutine.resume(self))
  local outer
  outer = coroutine.create(function()
    note(coroutine.resume(coroutine.create(function() note(coroutine.resume(outer)) end)))
  end)
  note(coroutine.resume(outer))
  local sum = 0
  for n in coroutine.wrap(function() for i = 1, 100 do coroutine.yield(i) end end) do sum = sum + n end
  note(sum)
  local function deep(n) if n == 0 then return 0 end return 1 + coroutine.wrap(deep)(n - 1) end
  note(deep(50))
  note(select("#", coroutine.resume(coroutine.create(function() return (table.unpack or unpack)({}, 1, 5000) end))))
  return table.concat(list, "\n")
end
