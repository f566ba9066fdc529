-- A handler of batches that does what its records' values ask for, and notes
-- each call: handler_args is a folder; a call is a line of the journal,
-- "partition/offset/attempt/key ..." in the order of the batch.
--
--   fail N           batch:fail for the first N attempts
--   retry S N        batch:retry(i, S) for the first N attempts
--   skip, park, dead_letter      batch:that(i, "asked for")
--   done             batch:done(i)
--   error N          the whole call raises, for the first N attempts
--   false            the whole call returns nil and a reason, once
--   outcome          the whole call returns context:skip()
--   hold             until the folder has a file "open"
local gate = require "spec.support.gate"

local batches = {}
local kept

local function note(folder, text)
  local file = assert(io.open(folder .. "/journal", "ab"))
  file:write(text, "\n")
  file:close()
end

local whole = {}

function whole.error(record, times)
  if record.attempt <= tonumber(times) then error("all of it") end
end

whole["false"] = function(record)
  if record.attempt == 1 then return "returned" end
end

local single = {}

function single.fail(batch, i, _, times)
  if batch[i].attempt <= tonumber(times) then batch:fail(i, "this one") end
end

function single.retry(batch, i, _, seconds, times)
  if batch[i].attempt <= tonumber(times) then batch:retry(i, tonumber(seconds), "later") end
end

for _, name in ipairs { "skip", "park", "dead_letter" } do
  single[name] = function(batch, i) batch[name](batch, i, "asked for") end
end

function single.done(batch, i)
  batch:done(i)
end

function single.hold(_, _, context)
  gate.wait(context, context.args, "open")
end

function single.misuse(batch, i)
  local text = {}
  local function try(f, ...) text[#text + 1] = select(2, pcall(f, ...)) end
  try(batch.fail, batch, 0, "x")
  try(batch.fail, batch, #batch + 1, "x")
  try(batch.fail, batch, 1.5, "x")
  try(batch.fail, batch, "1", "x")
  try(batch.fail, { batch[i] }, 1, "x")
  for _, seconds in ipairs { -1, 1 / 0, 1e308, 316224001 } do
    try(batch.retry, batch, 1, seconds)
  end
  if kept then
    try(kept.fail, kept, 1, "x")
    try(function() return kept[1].value end)
  end
  kept = batch
  batch:fail(i, table.concat(text, "\n"))
end

local function words(text)
  local list = {}
  for word in (text or ""):gmatch "%S+" do list[#list + 1] = word end
  return list
end

function batches.handle_batch(batch, context)
  local line, answer = {}, nil
  for i, record in ipairs(batch) do
    line[i] = ("%d/%d/%d/%s"):format(record.partition, record.offset, record.attempt,
      tostring(record.key))
  end
  note(context.args, table.concat(line, " "))
  for i, record in ipairs(batch) do
    local wish = words(record.value)
    if single[wish[1]] then single[wish[1]](batch, i, context, wish[2], wish[3]) end
  end
  for _, record in ipairs(batch) do
    local wish = words(record.value)
    if whole[wish[1]] then answer = whole[wish[1]](record, wish[2]) or answer end
    if wish[1] == "outcome" then return context:skip("all the others") end
  end
  if answer then return nil, answer end
end

return batches
