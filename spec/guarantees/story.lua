-- What happens to each record of the test of guarantees, by its key and its
-- number, so that handler and audit agree without a word:
--
--   fails     the handler's first attempt fails, after it has produced; one of ten
--   refused   the second of its outputs is too large for its topic; one of a thousand
--   well      nothing; both outputs are written
local story = {
  LIMIT = 20000,                                -- max.message.bytes of the second topic
  RETRY = { attempts = 3, delay = 0.02 },
}

function story.of(key, number)
  local index = tonumber(key:match "^k(%d+)$")
  if not index then return "well" end
  local die = (index * 7919 + number * 104729) % 1000
  if die == 500 then return "refused" end
  return die % 10 == 3 and "fails" or "well"
end

return story
