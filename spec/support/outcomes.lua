-- What a handler gives back or raises, and what becomes of its record.
--
-- value (spec/handlers/outcomes.lua), how it ends, what its reason holds, and
-- what it holds in local mode, if that is something else. "failed" is tried
-- again once, and done.
local rows = {
  { "nothing", "done" }, { "nil", "done" }, { "true", "done" }, { "a number", "done" },
  { "a string and more", "done" }, { "a table", "done" },
  { "false", "failed", "^the handler returned false$" },
  { "false and a reason", "failed", "^shut$" },
  { "nil and a reason", "failed", "^no rows$" },
  { "nil and an object", "failed", "^an object$" },
  { "error with text", "failed", "outcomes.lua:%d+: exploded\nstack traceback:\n.*outcomes.lua" },
  { "error nil", "failed", "^nil\nstack traceback:\n" },
  { "error false", "failed", "^false\nstack traceback:\n" },
  { "error with a number", "failed", "12.5\nstack traceback:\n" },
  { "error with a table", "failed", "^%(table value without __tostring%)\nstack traceback:\n" },
  { "error with an object", "failed", "^an object\nstack traceback:\n" },
  { "error with a broken object", "failed", "^%(table value with a broken __tostring%)\nstack" },
  { "error with userdata", "failed", "^file %(0x.*stack traceback:\n" },
  { "error with a coroutine", "failed", "^%(thread value without __tostring%)\nstack trace" },
  { "error with a function", "failed", "^%(function value without __tostring%)\nstack trace" },
  { "error with a record", "failed", "^strand.Record %(.*stack traceback:\n" },
  { "error with the context", "failed", "^%(userdata value without __tostring%)\nstack trace" },
  { "return strand's", "failed", "^skip was returned but not called$" },
  { "return the context's", "failed", "^retry was returned but not called$" },
  { "retry never", "failed", "seconds expected, from 0 to 316224000 %(ten years%)" },
  { "yield", "exhausted", "use workers = 0.*attempt to yield",
    "^the handler yielded, and nobody was to resume it" },
  { "yield across pcall", "exhausted", "use workers = 0.*attempt to yield",
    "^the handler .*yield" }, -- where pcall can be yielded across it yields
}

local ends = { retry = "failed", skip = "skipped", dead_letter = "dead_lettered", park = "parked" }
for _, source in ipairs { "strand", "context" } do
  for _, name in ipairs { "retry", "skip", "dead_letter", "park" } do
    for _, how in ipairs { "return", "throw", "answer" } do
      rows[#rows + 1] = { ("%s %s %s because %s"):format(how, source, name, how), ends[name],
        "^because " .. how .. "$" }
    end
    rows[#rows + 1] = { ("return %s %s"):format(source, name), ends[name], false }
    for _, how in ipairs { "drop", "keep" } do
      rows[#rows + 1] = { ("%s %s %s because"):format(how, source, name), "failed",
        "^" .. name .. "%(%) was called but not returned$" }
    end
  end
  rows[#rows + 1] = { "drop " .. source .. " stop", "failed", "^stop%(%) was called but not ret" }
end

-- Two copies of the module in one state do not know each other's outcomes.
for _, name in ipairs { "retry", "skip", "dead_letter", "park", "stop" } do
  for _, how in ipairs { "return", "throw", "answer" } do
    rows[#rows + 1] = { ("%s copy %s because"):format(how, name), "failed",
      "^an outcome of another copy of strand.core: two different core.so are loaded" }
  end
end

-- Cut short, but not within a character.
rows[#rows + 1] = { "return context dead_letter a" .. ("\195\164"):rep(600), "dead_lettered",
  "^a[\195\164]*\164$" }

return rows
