-- progress.lua: how far the examples have come, for a person who looks on
--
-- On a terminal one line that moves: a bar, a share, a rate. Elsewhere (a
-- file, a pipe, CI) plain lines, one for each update.

local core = require "strand.core"

local progress = {}
progress.__index = progress

local WIDTH = 24 -- of the bar, characters
local EIGHTHS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }
local LEVELS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

local function is_terminal()
  local ok = os.execute "test -t 1"
  return (ok == true or ok == 0) and os.getenv "TERM" ~= "dumb"
end

-- What a line that moves must not pass: else it would stay.
local function columns()
  local pipe = io.popen "stty size < /dev/tty 2> /dev/null"
  local width = pipe and tonumber((pipe:read "*a"):match "%d+ (%d+)")
  if pipe then pipe:close() end
  return width or 80
end

--- 'total' of 'unit' are to come.
function progress.new(total, unit)
  local moves = is_terminal()
  return setmetatable({ total = total, unit = unit, moves = moves, shown = false, done = 0,
    rates = {}, room = moves and columns() - WIDTH - 6 }, progress)
end

local function bar(share)
  local eighths = math.floor(math.min(1, share) * WIDTH * 8 + 0.5)
  local full = math.floor(eighths / 8)
  local rest = EIGHTHS[eighths % 8] or ""
  return ("█"):rep(full) .. rest .. (" "):rep(WIDTH - full - (rest == "" and 0 or 1))
end

-- What was done since the last update, by the second.
local function note_rate(self, done)
  local now = core.now()
  local since = self.updated and now - self.updated
  self.updated = now
  local rate = since and since > 0 and math.max(0, done - self.done) / since or 0
  self.done = done
  self.rates[#self.rates + 1] = rate
  return rate
end

--- 'done' so far (nil: not known now), and what else there is to say.
function progress:update(done, note)
  local rate = note_rate(self, done or self.done)
  local line = ("%3d %%  %6s of %d %s  %6.0f/s%s"):format(
    math.floor(100 * self.done / self.total), done or "?", self.total, self.unit, rate,
    note and "  " .. note or "")
  if self.moves then
    io.stdout:write("\r\27[K  ▕", bar(self.done / self.total), "▏ ", line:sub(1, self.room))
    self.shown = true
  else
    io.stdout:write("  ", line, "\n")
  end
  io.stdout:flush()
end

--- A line of its own, above the bar.
function progress:say(...)
  if self.shown then io.stdout:write "\r\27[K" end
  self.shown = false
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

--- The bar stays where it is.
function progress:finish()
  if self.shown then io.stdout:write "\n" end
  self.shown = false
end

--- The rates of all updates as one line of blocks, the highest full.
function progress:timeline()
  local highest, out = 0, {}
  for _, rate in ipairs(self.rates) do highest = math.max(highest, rate) end
  for i, rate in ipairs(self.rates) do
    local level = highest > 0 and math.ceil(rate / highest * #LEVELS) or 0
    out[i] = LEVELS[level] or " "
  end
  return table.concat(out), highest
end

return progress
