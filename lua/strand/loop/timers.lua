-- timers.lua: which of many times comes next, for loops that resume by themselves
--
-- A binary heap of { at, ... }. What is not wanted any more stays until its time, or until such
-- entries are more than the others: then they are thrown out.

local timers = {}
timers.__index = timers

local FEW = 64 -- so many are not worth throwing out

function timers.new()
  return setmetatable({ count = 0, unwanted = 0 }, timers)
end

local function rise(heap, i)
  local entry = heap[i]
  while i > 1 do
    local above = (i - i % 2) / 2
    if heap[above].at <= entry.at then break end
    heap[i], i = heap[above], above
  end
  heap[i] = entry
end

local function sink(heap, i)
  local entry = heap[i]
  while 2 * i <= heap.count do
    local below = 2 * i
    if below < heap.count and heap[below + 1].at < heap[below].at then below = below + 1 end
    if entry.at <= heap[below].at then break end
    heap[i], i = heap[below], below
  end
  heap[i] = entry
end

function timers:add(entry)
  self.count = self.count + 1
  self[self.count] = entry
  rise(self, self.count)
end

local function take_first(self)
  local first = self[1]
  self[1] = self[self.count]
  self[self.count] = nil
  self.count = self.count - 1
  if self.count > 0 then sink(self, 1) end
  return first
end

local function throw_out(self)
  local kept = 0
  for i = 1, self.count do
    local entry = self[i]
    self[i] = nil
    if not entry.unwanted then
      kept = kept + 1
      self[kept] = entry
    end
  end
  self.count, self.unwanted = kept, 0
  for i = (kept - kept % 2) / 2, 1, -1 do sink(self, i) end
end

-- Its time does not matter any more.
function timers:drop(entry)
  entry.unwanted = true
  self.unwanted = self.unwanted + 1
  if self.unwanted > FEW and 2 * self.unwanted > self.count then throw_out(self) end
end

-- -> the time of the first that is wanted | nil: there is none
function timers:next()
  while self.count > 0 and self[1].unwanted do
    take_first(self)
    self.unwanted = self.unwanted - 1
  end
  return self.count > 0 and self[1].at or nil
end

-- -> the first, taken, if its time has come | nil
function timers:due(now)
  local at = self:next()
  if at and at <= now then return take_first(self) end
end

return timers
