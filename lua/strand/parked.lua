-- parked.lua: the parked records of a consumer, read page by page

local adapter = require "strand.loop.adapter"
local schema = require "strand.schema"
local wait = require "strand.wait"

local PAGE_TIMEOUT = 30

-- The parked records after the one that 'at' names; an empty list at the end.
local function next_page(self, at)
  local refusal = self.loop and self.loop:refusal()
  if refusal then return nil, "parked(): " .. refusal, "CANNOT_WAIT" end
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

-- Lua 5.1 cannot yield in an iterator: there all is read before.
local function read_all(self, at, page)
  while #page > 0 do
    local more, message, code = next_page(self, at)
    if not more then return nil, message, code end
    if #more == 0 then return page end
    for _, record in ipairs(more) do page[#page + 1] = record end
  end
  return page
end

-- -> an iterator | nil, message, code. Copies: whoever is parked, resolved or
-- taken away meanwhile disturbs no other. What fails after the first page
-- raises.
local function parked(self)
  local at = { member = 0, topic = "", partition = 0, offset = 0 }
  local page, message, code = next_page(self, at)
  if not page then return nil, message, code end
  local i, all = 0, self.loop ~= nil and not adapter.yields_across_pcall
  if all then
    page, message, code = read_all(self, at, page)
    if not page then return nil, message, code end
  end
  return function()
    if i == #page and i > 0 and not all then
      if self.result then schema.raise("attempt to use a closed consumer") end
      local more, problem = next_page(self, at)
      if not more then schema.raise(problem) end
      page, i = more, 0
    end
    i = i + 1
    return page[i]
  end
end

return parked
