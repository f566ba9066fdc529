-- parked.lua: the parked records of a consumer, read page by page

local schema = require "strand.schema"
local wait = require "strand.wait"

local PAGE_TIMEOUT = 30

-- The parked records after the one that 'at' names; an empty list at the end.
local function next_page(self, at)
  while at.member < self.members do
    local page, message, code = wait.request(self, PAGE_TIMEOUT, self.core.parked_done,
      self.core:parked_begin(at.member, at.topic, at.partition, at.offset))
    if not page then return nil, message, code end
    local last = page[#page]
    if last then
      at.topic, at.partition, at.offset = last.topic, last.partition, last.offset + 1
      return page
    end
    at.member, at.topic, at.partition, at.offset = at.member + 1, "", 0, 0
  end
  return {}
end

-- -> an iterator | nil, message, code. Copies: whoever is parked, resolved or
-- taken away meanwhile disturbs no other. What fails after the first page
-- raises.
local function parked(self)
  local at = { member = 0, topic = "", partition = 0, offset = 0 }
  local page, message, code = next_page(self, at)
  if not page then return nil, message, code end
  local i = 0
  return function()
    i = i + 1
    if i > #page and #page > 0 then
      if self.result then schema.raise("attempt to use a closed consumer") end
      page, message = next_page(self, at)
      if not page then schema.raise(message) end
      i = 1
    end
    return page[i]
  end
end

return parked
