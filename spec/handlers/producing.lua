-- A handler that produces what its record asks for, and keeps a journal that
-- spec/support/fixture.lua reads. handler_args is { folder, out }: what is
-- produced goes to the topic 'out', with the record's own key, unless it says
-- otherwise. Commands stand between semicolons in the record's value:
--
--   copy N       N outputs (1): the value is "offset/attempt/nth"
--   like NAME    the table of that name, see below
--   large N      one of N bytes
--   to TOPIC     one to another topic
--   place N      one to that partition of 'out'
--   gate NAME    waits until the folder has a file of that name, or "all"
--   fail N       fails in the first N attempts
--   retry N      asks for a retry at once in the first N attempts
--   end NAME     context:NAME("asked for")
--   misuse       fails, with what each mistake raises as the reason
local gate = require "spec.support.gate"
local journal = require "spec.support.journal"

local tables = {
  all = { key = "k\0\255", value = "v\0\1", timestamp = 1.5, partition = 2,
    headers = { { "b", "1" }, { "a" }, { "b", "" } } },
  map = { key = "k", headers = { one = "1" } },
  nulls = {},
  empty = { key = "", value = "" },
  hashed = { key = "somewhere", value = "hashed", partition_key = "elsewhere" },
}

local function produce(record, context, output)
  output.topic = output.topic or context.args.out
  if output.key == nil and not output.value then output.key = record.key end
  context:produce(output)
end

local commands = {}

function commands.copy(record, context, count)
  for i = 1, tonumber(count) or 1 do
    context:produce { topic = context.args.out, key = record.key,
      value = ("%d/%d/%d"):format(record.offset, record.attempt, i) }
  end
end

function commands.like(_, context, name)
  local output = {}
  for field, value in pairs(tables[name]) do output[field] = value end
  output.topic = context.args.out
  context:produce(output)
end

function commands.large(record, context, size)
  produce(record, context, { key = record.key, value = ("x"):rep(tonumber(size)) })
end

function commands.to(record, context, topic)
  produce(record, context, { topic = topic, key = record.key, value = "to" })
end

function commands.place(record, context, partition)
  produce(record, context, { partition = tonumber(partition), key = record.key, value = "placed" })
end

function commands.gate(_, context, name) gate.wait(context, context.args.folder, name) end

function commands.fail(record, _, times)
  if record.attempt <= tonumber(times) then error("attempt " .. record.attempt, 0) end
end

function commands.retry(record, context, times)
  if record.attempt <= tonumber(times) then return context:retry(0) end
end

commands["end"] = function(_, context, name) return context[name](context, "asked for") end

function commands.misuse(_, context)
  local text, args = {}, context.args
  local function try(...) text[#text + 1] = select(2, pcall(context.produce, ...)) end
  try({ topic = args.out })
  try(context)
  try(context, { topic = args.out, vlaue = "x" })
  try(context, { topic = "a topic" })
  try(context, { value = "x" })
  try(context, { topic = args.out, key = 7 })
  try(context, { topic = args.out, partition = -1 })
  try(context, { topic = args.out, headers = { { "a", 1 } } })
  try(context, { topic = args.out, timeout = 5 })
  try(context, { topic = args.out, value = ("x"):rep(3000) })
  return nil, table.concat(text, "\n")
end

local function obey(record, context)
  for command in (record.value or ""):gmatch "[^;]+" do
    local name, word = command:match "^(%S+) ?(%S*)"
    local outcome, reason = commands[name](record, context, word)
    if outcome ~= nil or reason ~= nil then return outcome, reason end
  end
end

return {
  handle = function(record, context)
    return journal.around(context.args.folder, obey, record, context)
  end,
  -- the first is done, the second fails once, the third is given up
  handle_batch = function(batch, context)
    for i, record in ipairs(batch) do
      batch:produce(i, { topic = context.args.out, key = record.key,
        value = ("%d/%d"):format(record.offset, record.attempt) })
      if record.value == "fail" and record.attempt == 1 then batch:fail(i, "once") end
      if record.value == "skip" then batch:skip(i) end
    end
  end,
}
