-- processes.lua: programs that run at the same time, and are told what to do
--
-- Each gets lines by its standard input and answers each by a line. It ends
-- when its input does, so also when this process dies; one that hangs is
-- ended by its own 'timeout'.

local processes = {}

local process = {}
process.__index = process

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- words: a list, the command; limit: seconds it may take; input: its FIFO.
local function start(words, limit, input)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = quote(word) end
  assert(os.execute("mkfifo " .. quote(input)))
  local command = ("exec %s < %s"):format(table.concat(quoted, " "), quote(input))
  local output = assert(io.popen(("exec timeout -k 10 %d sh -c %s"):format(limit, quote(command))))
  return setmetatable({ output = output, fifo = input }, process)
end

-- -> list. folder: where their FIFOs can be.
function processes.start(folder, limit, commands)
  local list = {}
  for i, words in ipairs(commands) do
    list[i] = start(words, limit, ("%s/input-%d"):format(folder, i))
  end
  -- When all have been started: none may inherit another's input. r+: opened
  -- at once, and to write to one that has died is no SIGPIPE.
  for _, it in ipairs(list) do
    it.input = assert(io.open(it.fifo, "r+"))
    it.input:setvbuf "no"
  end
  return list
end

function process:tell(line)
  assert(self.input:write(line, "\n"))
end

-- -> what pattern finds in the next line of its output
function process:answer(pattern)
  local line = self.output:read "*l"
  if not line then error("a process has ended too early", 0) end
  return line:match(pattern) or error("a process said: " .. line, 0)
end

-- Ends all of them. -> true when each has closed well
function processes.stop(list)
  for _, it in ipairs(list) do
    if it.input then it.input:close() end
    os.remove(it.fifo)
  end
  local well = true
  for _, it in ipairs(list) do
    well = it.output:read "*a" == "closed\n" and well
    it.output:close()
  end
  return well
end

return processes
