-- A handler whose every record is produced to all topics of 'out', with its
-- own key: "key id"; each takes 'slow' seconds. Commands stand between semicolons in the record's value:
--
--   fail N      fails in the first N attempts, after it has produced
--   large       one more output, of more bytes than the brokers take
--   beyond N    one more output, to the N. topic, for a partition that is not there
--   keyless N   one more output, to the N. topic, without a key
--   gate NAME   waits until the folder has a file of that name, or "all"
--   only        nothing is produced
--   end NAME    context:NAME("asked for")
local gate = require "spec.support.gate"

local commands = {}

function commands.fail(record, _, times)
  if record.attempt <= tonumber(times) then error("attempt " .. record.attempt, 0) end
end

function commands.large(record, context)
  context:produce { topic = context.args.out[1], key = record.key, value = ("x"):rep(2 * 1024 * 1024) }
end

function commands.beyond(_, context, n)
  context:produce { topic = context.args.out[tonumber(n)], value = "beyond", partition = 7 }
end

function commands.keyless(_, context, n)
  context:produce { topic = context.args.out[tonumber(n)], value = "keyless" }
end

function commands.gate(_, context, name) gate.wait(context, context.args.folder, name) end

commands["end"] = function(_, context, name) return context[name](context, "asked for") end

return {
  handle = function(record, context)
    local value, args = record.value or "", context.args
    if args.slow then gate.sleep(context, args.slow) end
    for _, topic in ipairs(value:find("only", 1, true) and {} or args.out) do
      context:produce { topic = topic, key = record.key, value = record.key .. " " .. record.id }
    end
    for command in value:gmatch "[^;]+" do
      local name, word = command:match "^(%S+) ?(%S*)"
      if commands[name] then
        local outcome, reason = commands[name](record, context, word)
        if outcome ~= nil or reason ~= nil then return outcome, reason end
      end
    end
  end,
}
