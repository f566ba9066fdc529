-- The audit of the test of guarantees: what a reader of committed records,
-- which is neither strand nor librdkafka (spec/java/Reader.java), sees in the
-- outputs, against what it sees in the topic that was read.
--
--   lost             records without all that they owe: an output in each topic, or a letter
--   doubled          copies of an output or a letter, beyond the first
--   aborted_visible  outputs of what has not succeeded: of an attempt that failed, or of a
--                    record that was given up
--   inversions       of a key's outputs in a topic: first copies that come after a later one
--                    (not of what is refused: a member that knows the topic's limit gives it
--                    up at once, the one that repeats it may not know yet, and writes the first)
--
-- What a record owes depends on its story (story.lua). At most once a failure
-- is final, so that a record which fails owes a letter; and one whose output
-- was in doubt has a letter and perhaps that output.
local helper = require "spec.support.helper"
local story = require "spec.guarantees.story"

local books = {}
books.__index = books

local JAVA = "java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto "
  .. "-cp 'build/kafka/%s/lib/*' spec/java/Reader.java '%s' %d %s > '%s' 2> '%s'"
local SECONDS = 90 -- an open transaction's end, and the reading

local function read_all(topics, path)
  local command = JAVA:format(os.getenv "KAFKA_VERSION", helper.broker(), SECONDS,
    table.concat(topics, " "), path, path .. ".errors")
  local ok = os.execute(command)
  assert(ok == true or ok == 0, "the reader failed: " .. helper.read(path .. ".errors"))
end

local function wrong(self, what, ...)
  self[what] = self[what] + 1
  self.notes[what] = self.notes[what]
    or ("first %s: %s"):format(what, table.concat({ ... }, " "))
end

-- One line of a topic of outputs, or of letters.
local function add_copy(self, name, partition, offset, key, value)
  local number, attempt = value:match "^(%d+) ?(%d*)"
  local id = key .. "/" .. number
  local seen, last = self.seen[name], self.last[name]
  assert(self.sent[id], "an output of nothing: " .. id)
  number = tonumber(number)
  if seen[id] then
    wrong(self, "doubled", name, partition, offset, id, "attempt", attempt)
  else
    seen[id] = tonumber(attempt) or 0
    if name ~= "letters" and number < (last[key] or 0)
      and story.of(key, number) ~= "refused" then
      wrong(self, "inversions", name, partition, offset, id, "after", last[key])
    end
    last[key] = math.max(number, last[key] or 0)
  end
  if self.retries and story.of(key, number) == "fails" and attempt == "1" then
    wrong(self, "aborted_visible", name, partition, offset, id, "attempt", attempt)
  end
end

local function add_sent(self, partition, offset, key, value)
  local id = key .. "/" .. value
  assert(not self.sent[id], "sent twice: " .. id)
  self.sent[id] = { key = key, number = tonumber(value), partition = tonumber(partition),
    offset = tonumber(offset) }
  self.count = self.count + 1
end

local function add_total(self, line)
  local committed, written = line:match "^total %S+ (%d+) (%d+)$"
  if committed then self.unseen = self.unseen + tonumber(written) - tonumber(committed) end
  return committed
end

-- Of what is given up nothing may be seen, but of one that was refused what
-- had been written before, outside of transactions.
local function judge_given_up(self, id, record, kind)
  local seen = self.seen
  if not seen.letters[id] then self:lose(id, record) end
  if (seen.first[id] or seen.second[id]) and (kind == "fails" or self.transactions) then
    wrong(self, "aborted_visible", "outputs of", id, "which was given up")
  end
end

local function judge(self, id, record)
  local seen, kind = self.seen, story.of(record.key, record.number)
  if kind == "refused" or kind == "fails" and not self.retries then
    return judge_given_up(self, id, record, kind)
  elseif seen.letters[id] and self.retries then
    wrong(self, "aborted_visible", "a letter of", id)
  elseif not seen.letters[id] and not (seen.first[id] and seen.second[id]) then
    self:lose(id, record)
  end
end

function books:lose(id, record)
  wrong(self, "lost", id, "at", record.partition .. "/" .. record.offset)
  self.losses[#self.losses + 1] = record
end

-- What is sent must be known before what became of it.
local function enter(self, path, names)
  for line in io.lines(path) do
    local topic, partition, offset, key, value = line:match "^(%S+) (%d+) (%d+) (%S+) (.*)$"
    local name = names[topic]
    if name == "source" then add_sent(self, partition, offset, key, value) end
  end
  for line in io.lines(path) do
    local topic, partition, offset, key, value = line:match "^(%S+) (%d+) (%d+) (%S+) (.*)$"
    local name = names[topic]
    if not name then
      assert(add_total(self, line), line)
    elseif name ~= "source" then
      add_copy(self, name, partition, offset, key, value)
    end
  end
end

--- topics: source, first, second, letters. delivery: the consumer's. Reads
--- them to their ends, by a file in 'folder'. 'unseen' is how many records are
--- written and not committed, 'losses' a list of the records that are lost.
function books.read(topics, delivery, folder)
  local self = setmetatable({ sent = {}, count = 0, losses = {}, notes = {}, unseen = 0,
    seen = { first = {}, second = {}, letters = {} },
    last = { first = {}, second = {}, letters = {} },
    lost = 0, doubled = 0, aborted_visible = 0, inversions = 0,
    retries = delivery ~= "at_most_once", transactions = delivery == "exactly_once" }, books)
  local path, names, list = folder .. "/seen", {}, {}
  for name, topic in pairs(topics) do
    names[topic] = name
    list[#list + 1] = topic
  end
  read_all(list, path)
  enter(self, path, names)
  os.remove(path)
  for id, record in pairs(self.sent) do judge(self, id, record) end
  return self
end

return books
