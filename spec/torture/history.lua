-- What happened, from two sources: the lines of the handlers (handler.lua),
-- and what an outsider reads of the group's committed offsets and payloads.
--
--   lost               acknowledged to the producer, and never handled to the end
--   unfinished         covered by a commit, and not handled to the end: would be lost
--   inversions         handled for the first time before the one of its key before it had
--                      been handled to the end
--   overlaps           started while another of its key was in a handler
--   went_back          covered by a commit, and no longer by a later one
--   repeated_covered   started although a commit covered it
--   repeats            starts of records that had been started before
--   unexcused          those of them that no fault explains
--
-- A poison record is done when its dead letter is in its topic (reader.lua).
-- That may be known much later: the letter says when its broker took it, and
-- what was seen before (a commit that covers the record, a start of the next
-- one of its key) is judged then.
--
--   attempts           others than the policy's: in a life, or by a letter
--   early              covered by a commit before the letter was there
--   resent             letters of a record, but for one for each life that gave it up
--
-- A record is covered when it is below the committed offset, or done
-- according to the payload. What is kept are the records above the committed
-- offset, and what is known of poison: else memory does not grow with the run.
local poison = require "spec.torture.poison"
local strand = require "strand"
local system = require "system"

local history = {}
history.__index = history

local LINE = 64 -- bytes
local ATTEMPTS = poison.RETRY.attempts
local ROUNDED = 0.002 -- seconds: a broker's time is cut off, a line's is rounded

--- path: of the handlers' lines; letters: of the reader's, or nil.
function history.new(path, letters)
  return setmetatable({ log = { path = path, at = 0 },
    letter_log = letters and { path = letters, at = 0 }, letter_ends = {},
    partitions = {}, keys = {}, processes = {}, starts = 0, done = 0, healthy = 0, letters = 0,
    lettered = 0, awaited = 0, repeats = 0, inversions = 0, overlaps = 0, unfinished = 0,
    attempts = 0, early = 0, resent = 0, went_back = 0, repeated_covered = 0, fenced = 0,
    most = 0, -- handlers that ran at once in a process
    notes = {} }, history)
end

local function entry(table, name, make)
  local found = table[name]
  if not found then
    found = make()
    table[name] = found
  end
  return found
end

local function new_partition()
  -- by offset: who started it last, its attempt, whether it is done, covered,
  -- excused; of poison, how many lives gave it up, when the present one began
  -- with it and when it gave it up; how many letters it has, and when the last
  -- one was taken; and when a commit was seen to cover it before its letter was
  return { base = 0, top = -1, starter = {}, attempt = {}, done = {}, covered = {}, excused = {},
    given_up = {}, began = {}, since = {}, letters = {}, taken = {}, awaited = {} }
end

local function new_process()
  -- surprises: repeats of what it had started that no fault excuses (so far)
  -- vain: by place and offset, started before it had its partitions again
  return { starts = 0, ends = 0, handled = 0, seconds = {}, surprises = 0, places = {}, vain = {} }
end

local function new_key()
  -- of its records by number: when a letter was taken, when the one after it started
  return { first = 0, done = 0, failed = 0, taken = {}, followed = {} }
end

-- The first of each kind says where to look.
local function wrong(self, what, ...)
  self[what] = self[what] + 1
  self.notes[what] = self.notes[what] or ("%s: "):format(what) .. table.concat({ ... }, " ")
end

function history:process(pid)
  return entry(self.processes, pid, new_process)
end

function history:partition(number)
  return entry(self.partitions, number, new_partition)
end

local function repeated(self, partition, offset)
  self.repeats = self.repeats + 1
  if partition.excused[offset] then
    partition.excused[offset] = nil
  else
    local starter = self:process(partition.starter[offset])
    starter.surprises = starter.surprises + 1
  end
end

-- The letter of this one of a key must be there before the next one starts.
local function follow(self, name, key, number)
  local taken, followed = key.taken[number], key.followed[number]
  if not taken or not followed then return end
  if followed < taken then
    wrong(self, "inversions", name, number + 1, "before the letter of", number)
  end
  key.taken[number], key.followed[number] = nil, nil
end

local function started_first(self, line, key)
  local before = line.number - 1
  if line.number ~= key.first + 1 or key.done < before and key.failed < before then
    wrong(self, "inversions", line.name, line.number, "after", key.first, "done", key.done)
  elseif key.failed == before and before > 0 then
    key.followed[before] = line.time
    follow(self, line.name, key, before)
  end
  key.first = math.max(key.first, line.number)
end

local function check_attempt(self, line, partition)
  local before = partition.starter[line.offset] == line.pid and partition.attempt[line.offset] or 0
  if line.attempt ~= before + 1 or line.attempt > ATTEMPTS then
    wrong(self, "attempts", line.place, line.offset, "has", line.attempt, "after", before)
  end
end

local function started(self, line, partition, key)
  local offset = line.offset
  if partition.covered[offset] or offset < partition.base then
    return wrong(self, "repeated_covered", line.name, line.place, offset)
  end
  if line.attempt > 1 then
    check_attempt(self, line, partition)
  elseif partition.starter[offset] then
    repeated(self, partition, offset)
  else
    started_first(self, line, key)
  end
  if key.open then
    wrong(self, "overlaps", line.name, line.number, "in", line.pid, "and", key.open)
  end
  partition.starter[offset], key.open = line.pid, line.pid
  partition.attempt[offset], partition.since[offset] = line.attempt, nil
  if line.attempt == 1 and partition.given_up[offset] then
    partition.began[offset] = line.time
  end
end

local function done(self, partition, offset)
  if offset >= partition.base then partition.done[offset] = true end
  self.done = self.done + 1
end

local function ended(self, line, partition, key)
  key.done = math.max(key.done, line.number)
  if line.offset >= partition.base and not partition.done[line.offset] then
    done(self, partition, line.offset)
    self.healthy = self.healthy + 1
  end
end

local function failed(_, line, partition, key)
  local given_up, offset = partition.given_up, line.offset
  key.failed = math.max(key.failed, line.number)
  partition.began[offset] = partition.began[offset] or line.time
  given_up[offset] = given_up[offset] or 0
  if line.attempt == ATTEMPTS then
    given_up[offset], partition.since[offset] = given_up[offset] + 1, line.time
  end
end

local function measure(self, process, line)
  process.first, process.last = process.first or line.time, line.time
  process.places[line.place] = true
  if line.what == "start" then
    process.starts = process.starts + 1
    self.most = math.max(self.most, process.starts - process.handled)
    return
  end
  local second = math.floor(line.time)
  process.handled = process.handled + 1
  process.seconds[second] = (process.seconds[second] or 0) + 1
  if line.what == "end" then process.ends = process.ends + 1 end
end

-- Whether it is of what a process handled before it had its partitions again,
-- also when it ends later.
local function is_vain(self, process, line)
  local record = line.place .. "/" .. line.offset
  local early, vain = process.fenced and line.time < process.fenced, process.vain[record]
  process.vain[record] = line.what == "start" and early or nil
  if line.what == "start" then
    if early then self.fenced = self.fenced + 1 end
    return early
  end
  return early or vain
end

local function take(self, line)
  local process = self:process(line.pid)
  if is_vain(self, process, line) then return end
  measure(self, process, line)
  local partition, key = self:partition(line.place), entry(self.keys, line.name, new_key)
  if line.what == "start" then
    self.starts = self.starts + 1
    return started(self, line, partition, key)
  end
  if key.open == line.pid then key.open = nil end
  return (line.what == "end" and ended or failed)(self, line, partition, key)
end

local function add(self, text)
  local what, pid, place, offset, name, number, attempt, time =
    text:match "^(%a+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%S+) *\n$"
  assert(what, "a broken line: " .. text)
  take(self, { what = what, pid = tonumber(pid), place = tonumber(place),
    offset = tonumber(offset), name = name, number = tonumber(number),
    attempt = tonumber(attempt), time = tonumber(time) })
end

-- ---- dead letters --------------------------------------------------------------

local function first_letter(self, line, partition)
  local offset, seen = line.offset, partition.awaited[line.offset]
  self.lettered = self.lettered + 1
  done(self, partition, offset)
  if seen then
    self.awaited, partition.awaited[offset] = self.awaited - 1, nil
    if seen < line.time then
      wrong(self, "early", line.place, offset, ("%.3f s before"):format(line.time - seen))
    end
  end
  local key = entry(self.keys, line.name, new_key)
  key.taken[line.number] = line.time
  follow(self, line.name, key, line.number)
end

-- Whether a letter of this time is the present life's.
local function is_present(partition, offset, time)
  local since = partition.since[offset]
  return since ~= nil and time > since - ROUNDED
end

-- The life that sent it had made all attempts: the present one, or one before
-- that began.
local function was_given_up(partition, offset, time)
  return (partition.given_up[offset] or 0) > 0
    and (time < partition.began[offset] or is_present(partition, offset, time))
end

local function take_dead_letter(self, line)
  local partition, offset = self:partition(line.place), line.offset
  local count, lives = (partition.letters[offset] or 0) + 1, partition.given_up[offset] or 0
  self.letters = self.letters + 1
  partition.letters[offset], partition.taken[offset] = count, line.time
  if line.attempts ~= ATTEMPTS or not was_given_up(partition, offset, line.time) then
    wrong(self, "attempts", "letter of", line.place, offset, "says", line.attempts, "lives", lives)
  end
  if count > math.max(lives, 1) then
    wrong(self, "resent", line.place, offset, count, "letters of", lives, "lives")
  end
  if count == 1 then first_letter(self, line, partition) end
end

-- A reader that comes again may read again.
local function add_letter(self, text)
  local where, at, place, offset, name, number, attempts, time =
    text:match "^letter (%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%S+) *\n$"
  assert(where, "a broken letter: " .. text)
  at = tonumber(at)
  if at < (self.letter_ends[where] or 0) then return end
  self.letter_ends[where] = at + 1
  take_dead_letter(self, { place = tonumber(place), offset = tonumber(offset), name = name,
    number = tonumber(number), attempts = tonumber(attempts), time = tonumber(time) })
end

-- ---- reading -------------------------------------------------------------------

-- What was written to it since the last time: whole lines.
local function more(log)
  local file = log and io.open(log.path, "rb")
  if not file then return "" end
  file:seek("set", log.at)
  local text = file:read "*a"
  file:close()
  text = text:sub(1, #text - #text % LINE)
  log.at = log.at + #text
  return text
end

--- Reads what was written since the last time: of letters first, since what
--- led to a letter was written before it. Returns itself.
function history:read()
  if self.held then return self end
  local letters, lines = more(self.letter_log), more(self.log)
  for at = 1, #lines, LINE do add(self, lines:sub(at, at + LINE - 1)) end
  for at = 1, #letters, LINE do add_letter(self, letters:sub(at, at + LINE - 1)) end
  return self
end

-- ---- what is committed -------------------------------------------------------

local function cover(self, place, partition, offset)
  if partition.done[offset] then return end
  if (partition.given_up[offset] or 0) == 0 then
    return wrong(self, "unfinished", place, offset)
  end
  self.awaited, partition.awaited[offset] = self.awaited + 1, self.committed_at
end

local function rise(self, place, partition, base)
  if base < partition.base then
    wrong(self, "went_back", place, partition.base, "to", base)
    return
  end
  for offset = partition.base, base - 1 do
    if not partition.covered[offset] then cover(self, place, partition, offset) end
    partition.starter[offset], partition.done[offset] = nil, nil
    partition.covered[offset], partition.excused[offset] = nil, nil
    partition.attempt[offset] = nil
  end
  partition.base = base
end

local function open_offsets(decoded)
  local open = {}
  for _, range in ipairs(decoded.incomplete) do
    for offset = range[1], range[2] do open[offset] = true end
  end
  return open
end

local function mark(self, place, partition, highest, open)
  for offset = partition.base, math.max(highest, partition.top) do
    local covered = offset <= highest and not open[offset]
    if covered and not partition.covered[offset] then
      cover(self, place, partition, offset)
      partition.covered[offset] = true
    elseif not covered and partition.covered[offset] then
      wrong(self, "went_back", place, offset, "above", partition.base)
    end
  end
  partition.top = math.max(highest, partition.top)
end

--- Takes what an outsider has just read: a list of { partition, offset,
--- metadata }. What is written down until now counts as written before it,
--- and so does a letter that was taken until now.
function history:committed(list)
  self.committed_at = system.gettime()
  self:read()
  for _, found in ipairs(list) do
    if found.offset and found.offset >= 0 then
      local partition = self:partition(found.partition)
      local highest, open = found.offset - 1, {}
      if found.metadata and found.metadata ~= "" then
        local decoded = assert(strand.metadata.decode(found.offset, found.metadata))
        highest, open = decoded.highest, open_offsets(decoded)
      end
      rise(self, found.partition, partition, found.offset)
      mark(self, found.partition, partition, highest, open)
    end
  end
end

-- ---- faults ---------------------------------------------------------------------

--- A process is dead, or frozen: what it has in handlers overlaps nothing.
function history:gone(pid)
  self:read():process(pid)
  for _, key in pairs(self.keys) do
    if key.open == pid then key.open = nil end
  end
end

--- A frozen one is about to wake. It may handle on until it hears that it lost
--- its partitions; what it does then is worth nothing, and only counted. So
--- nothing is read until it is known when that was over: not of the others
--- either, who may go on with what it handles after that.
function history:hold()
  self:read().held = true
end

--- It was assigned partitions again at this time, and is a member like others.
function history:back(pid, time)
  self:process(pid).fenced, self.held = time, nil
  self:read()
end

--- When a process was assigned partitions after it lost those it had, by what it
--- says of its events (spec/support/member.lua); of a loss after the time
--- 'since'. Or nil: not yet.
function history.assigned_again(output, since)
  local lost = false
  for type, time in output:gmatch "event ([%l_]+) [^\n]* (%S+)\n" do
    time = tonumber(time)
    lost = lost or type == "lost" and time > since
    if lost and type == "assigned" then return time end
  end
end

-- Poison whose letter of the present life is not there.
local function waits(partition, offset)
  local taken = partition.taken[offset]
  return partition.given_up[offset] and not (taken and is_present(partition, offset, taken))
end

--- How many records it started that no commit covers, and one of them, and how
--- many more of them wait for a retry or for their letter; but not those of an
--- earlier fault. From now on they may be started once more.
function history:uncovered(pid)
  local count, waiting, example = 0, 0, nil
  for place, partition in pairs(self.partitions) do
    for offset, starter in pairs(partition.starter) do
      if starter == pid and not partition.covered[offset] and not partition.excused[offset] then
        partition.excused[offset] = true
        if waits(partition, offset) then
          waiting = waiting + 1
        else
          count, example = count + 1, place .. "/" .. offset
        end
      end
    end
  end
  return count, waiting, example
end

--- Its records a second: in its best second, or over its life if that was short.
function history:rate(pid)
  local process = self:process(pid)
  if process.handled == 0 then return 0 end
  local best = process.handled / math.max(process.last - process.first, 0.001)
  if process.last - process.first > 1 then
    for _, count in pairs(process.seconds) do best = math.max(best, count) end
  end
  return best
end

return history
