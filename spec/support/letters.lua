-- Dead letters as somebody else reads them: a consumer of their topics that
-- writes each down whole (spec/handlers/collector.lua).
local helper = require "spec.support.helper"

local letters = {}
letters.__index = letters

--- The options of such a consumer, and its reader. Whoever calls opens and
--- starts it.
function letters.reader(topics)
  local path = helper.folder() .. "/letters"
  local options = { topics = topics, handler = "spec.handlers.collector", handler_args = path,
    workers = 1, ordering = "unordered" }
  return options, setmetatable({ path = path }, letters)
end

local function bytes(word)
  if word == "-" then return nil end
  return (word:sub(2):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function parse(line)
  local words = {}
  for word in line:gmatch "%S+" do words[#words + 1] = word end
  local letter = { topic = words[1], partition = tonumber(words[2]), offset = tonumber(words[3]),
    key = bytes(words[4]), value = bytes(words[5]), timestamp = tonumber(words[6]),
    headers = {}, header = {} }
  for i = 7, #words, 2 do
    local name, value = bytes(words[i]), bytes(words[i + 1])
    letter.headers[#letter.headers + 1] = { name, value }
    letter.header[name] = value
  end
  return letter
end

--- The letters of a topic that have been read so far. 'header' has the last
--- value of each name, 'headers' all in order.
function letters:list(topic)
  local list = {}
  for line in (helper.read(self.path) or ""):gmatch "([^\n]*)\n" do
    local letter = parse(line)
    if letter.topic == topic then list[#list + 1] = letter end
  end
  table.sort(list, function(a, b)
    if a.partition ~= b.partition then return a.partition < b.partition end
    return a.offset < b.offset
  end)
  return list
end

--- Waits until there are 'count' of them; serves the consumers that follow.
function letters:wait(limit, topic, count, ...)
  local ok = pcall(helper.eventually, limit, function() return #self:list(topic) >= count end, ...)
  local list = self:list(topic)
  if not ok then
    error(("%d of %d dead letters within %g s"):format(#list, count, limit), 2)
  end
  return list
end

return letters
