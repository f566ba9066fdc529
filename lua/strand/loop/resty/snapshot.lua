-- snapshot.lua: what the workers of nginx serve, in one answer that any of them gives
--
--   each second -> put -> ngx.shared.strand -> stats(), health() in any worker
--
-- Each worker has one entry, under its pid: a line about the worker, and one for each name of its
-- consumers (the group's id) and producers (the client's id). What a worker says of itself is
-- always as of now. An entry drops out when the worker leaves, when its process has gone, or
-- EXPIRES after it was last put: so there are few more entries than workers, of ENTRY_MOST bytes
-- each. One that does not fit leaves names out, and says how many ('left_out').

local ffi = require "ffi"

local snapshot = {}

local DICT = "strand"
local PREFIX = "worker "
local EXPIRES = 60 -- seconds
local LATE = 5 -- seconds without a snapshot, after which a worker is stuck
local ENTRY_MOST = 16 * 1024 -- bytes
local TEXT_MOST = 256 -- bytes of a name or a reason
local WORKERS_MOST = 1024
local WARNING = 4

-- Of a worker, and of all: what is no sum.
local FOLDS = { longest_slice = math.max, oldest_age = math.max, idle = math.min }

local WORDS = { kind = true, name = true, ok = true, reason = true, code = true } -- all else is a number

local entries = {} -- of this worker: { object, failure = why it was not started }
local warned -- that the dictionary is missing, or took no entry

-- A line: what is said of all objects of one kind and name --------------------------

local function fold(sum, field, value)
  local old = sum[field]
  sum[field] = old == nil and value or (FOLDS[field] or function(a, b) return a + b end)(old, value)
end

-- The first reason stands for all.
local function add_health(sum, ok, reason, code)
  if ok == nil then return end
  if sum.ok ~= false then sum.ok, sum.reason, sum.code = ok, reason, code end
end

local function add_numbers(sum, numbers)
  for field, value in pairs(numbers) do
    if type(value) == "number" then fold(sum, field, value) end
  end
end

local function add_line(sum, line)
  add_numbers(sum, line)
  add_health(sum, line.ok, line.reason, line.code)
end

local function add_partitions(sum, partitions)
  fold(sum, "partitions", #partitions)
  for _, partition in ipairs(partitions) do
    for _, field in ipairs { "lag", "true_lag", "oldest_age" } do
      if partition[field] then fold(sum, field, partition[field]) end
    end
  end
end

-- An answer: { consumers = { [name] = line }, producers } ----------------------------

local LISTS = { consumer = "consumers", producer = "producers" }

local function line_of(answer, kind, name)
  local list = answer[LISTS[kind]]
  list[name] = list[name] or {}
  return list[name]
end

local function failure_of(entry) return entry.failure or entry.object.failure end

-- -> whether it is well, reason, code | nil: nobody can say
local function health_of(entry)
  local failure, object = failure_of(entry), entry.object
  if failure then return false, failure.message, failure.code end
  local unserved = object.loop and object.loop.unserved
  if unserved then return false, unserved, "NOT_SERVED" end
  if not object.health or ngx.worker.exiting() then return nil end
  local ok, reason, code = object:health()
  return ok == true, reason, code
end

local function add_entry(answer, entry)
  local object, stats = entry.object, entry.object:stats()
  local line = line_of(answer, getmetatable(object).serving.noun, object.name:sub(1, TEXT_MOST))
  add_numbers(line, stats)
  if stats.partitions then add_partitions(line, stats.partitions) end
  local ok, reason, code = health_of(entry)
  add_health(line, ok, reason and reason:sub(1, TEXT_MOST), code)
end

-- What was closed is told of no more; a consumer that failed is, until another takes its place.
local function drop(is_dropped)
  for i = #entries, 1, -1 do
    if is_dropped(entries[i]) then table.remove(entries, i) end
  end
end

local function is_over(entry)
  local object = entry.object
  if getmetatable(object).serving.noun == "consumer" then
    return object.result ~= nil and not failure_of(entry)
  end
  return object.core:state() == "closed"
end

local function new_answer(pid, id, time)
  return { pid = pid, id = id, age = math.max(0, ngx.now() - time), consumers = {}, producers = {} }
end

-- This worker's own.
local function own()
  local answer = new_answer(ngx.worker.pid(), ngx.worker.id(), ngx.now())
  for _, entry in ipairs(entries) do
    if not is_over(entry) then add_entry(answer, entry) end
  end
  return answer
end

-- An entry of the dictionary -----------------------------------------------------------

local function encode(answer)
  local head = { pid = answer.pid, id = answer.id, time = ngx.now(), left_out = 0 }
  local lines, size = { "" }, TEXT_MOST
  for kind, list in pairs(LISTS) do
    for name, line in pairs(answer[list]) do
      local words = { kind = kind, name = name }
      for field, value in pairs(line) do words[field] = tostring(value) end
      local text = ngx.encode_args(words)
      if size + #text < ENTRY_MOST then
        lines[#lines + 1], size = text, size + #text + 1
      else
        head.left_out = head.left_out + 1
      end
    end
  end
  lines[1] = ngx.encode_args(head)
  return table.concat(lines, "\n")
end

local function decode_line(text)
  local line = ngx.decode_args(text, 0)
  for field, value in pairs(line) do
    if not WORDS[field] then line[field] = tonumber(value) end
  end
  if line.ok then line.ok = line.ok == "true" end
  return line
end

local function decode(entry)
  local answer
  for text in entry:gmatch "[^\n]+" do
    local line = decode_line(text)
    if not answer then
      answer = new_answer(line.pid, line.id, line.time)
      if line.left_out > 0 then answer.left_out = line.left_out end
    else
      answer[LISTS[line.kind]][line.name] = line
      line.kind, line.name = nil, nil
    end
  end
  return answer
end

-- By a name that no other module declares with other types.
ffi.cdef [[int strand_kill(int pid, int signal) asm("kill");]]

local NO_PROCESS = 3 -- ESRCH

local function has_gone(pid)
  return ffi.C.strand_kill(pid, 0) ~= 0 and ffi.errno() == NO_PROCESS
end

-- Once, so that a worker does not fill the log.
local function warn(object, what)
  if warned == what then return end
  warned = what
  object.dispatcher:log_later(WARNING, "nginx", what)
end

-- Of those that are alive. -> list, by pid
local function all()
  local answer = own()
  local list, dict = { answer }, ngx.shared[DICT]
  for _, key in ipairs(dict and dict:get_keys(WORKERS_MOST) or {}) do
    local entry = key:sub(1, #PREFIX) == PREFIX and key ~= PREFIX .. answer.pid and dict:get(key)
    local other = entry and decode(entry)
    if other and not has_gone(other.pid) then list[#list + 1] = other end
  end
  table.sort(list, function(a, b) return a.pid < b.pid end)
  return list
end

-- For resty.lua --------------------------------------------------------------------------

-- Once a second.
function snapshot.put()
  local dict = ngx.shared[DICT]
  drop(is_over)
  if not dict then return end
  local answer = own()
  if #entries == 0 then return snapshot.leave() end
  local ok, problem = dict:safe_set(PREFIX .. answer.pid, encode(answer), EXPIRES)
  if ok then
    warned = nil
  else
    warn(entries[1].object, ("lua_shared_dict %s takes no snapshot of this worker: %s"):format(DICT,
      problem))
  end
end

-- This worker tells of nothing any more.
function snapshot.leave()
  local dict = ngx.shared[DICT]
  if dict then dict:delete(PREFIX .. ngx.worker.pid()) end
end

-- An object that was started, or why it was not.
function snapshot.add(object, message, code)
  local noun = getmetatable(object).serving.noun
  if not LISTS[noun] then return end
  drop(function(entry)
    local other = entry.object
    return other.name == object.name and failure_of(entry) and getmetatable(other).serving.noun == noun
  end)
  entries[#entries + 1] = { object = object, failure = message and { message = message, code = code } }
  if not ngx.shared[DICT] and ngx.worker.count() > 1 then
    warn(object, ("no 'lua_shared_dict %s 1m;' in http { }: stats() and health() of "
      .. "strand.loop.resty tell of one worker alone"):format(DICT))
  end
  snapshot.put()
end

-- For everybody ----------------------------------------------------------------------------

--- -> { workers = { { pid, id, age, consumers, producers }, ... }, consumers, producers, shared }
function snapshot.stats()
  local sums = { workers = all(), consumers = {}, producers = {}, shared = ngx.shared[DICT] ~= nil }
  for _, answer in ipairs(sums.workers) do
    for kind, list in pairs(LISTS) do
      for name, line in pairs(answer[list]) do add_line(line_of(sums, kind, name), line) end
    end
  end
  return sums
end

local function problem_of(answer)
  if answer.age > LATE then
    return ("it has not told for %.0f s"):format(answer.age), "STUCK_WORKER"
  end
  for _, list in pairs(LISTS) do
    for name, line in pairs(answer[list]) do
      if line.ok == false then return ("%s: %s"):format(name, line.reason), line.code end
    end
  end
end

local function serves(answer)
  return next(answer.consumers) ~= nil or next(answer.producers) ~= nil
end

--- -> true | nil, reason, code: the first worker that is not well
function snapshot.health()
  local any = false
  for _, answer in ipairs(all()) do
    local reason, code = problem_of(answer)
    if reason then return nil, ("worker %d: %s"):format(answer.pid, reason), code end
    any = any or serves(answer)
  end
  if any then return true end
  return nil, ("worker %d: no consumer or producer was started"):format(ngx.worker.pid()), "NOT_STARTED"
end

return snapshot
