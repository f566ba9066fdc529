-- Contexts of handlers (lua/strand/loop/resty/contexts.lua): one that was ended is noticed, and no more
-- are given up at once than lua_max_running_timers has room for, which start() has looked at. nginx is
-- played, and its time stands still; spec/nginx/contexts_spec.lua has a real one.
local FULL, MOST = 16, 64 -- contexts that are full, threads in each
local AT_ONCE = 2 -- one of eight, when they are old; and one more of those with killed threads
local THREADS = FULL * MOST
local RAISED = "an error in a handler"

-- nginx --------------------------------------------------------------------------

local time, ready, timers, killed, exits

local function resume(thread)
  local ok, problem = coroutine.resume(thread)
  if not ok and problem ~= RAISED then error(problem, 0) end
end

local function run()
  while ready[1] do
    local thread = table.remove(ready, 1)
    if not killed[thread] then resume(thread) end
  end
end

local semaphore = {}
semaphore.__index = semaphore

function semaphore.new(count) return setmetatable({ count = count, waiting = {} }, semaphore) end

function semaphore:post()
  self.count = self.count + 1
  for _, thread in ipairs(self.waiting) do ready[#ready + 1] = thread end
  self.waiting = {}
end

function semaphore:wait()
  while self.count == 0 do
    self.waiting[#self.waiting + 1] = coroutine.running()
    coroutine.yield()
  end
  self.count = self.count - 1
  return true
end

local entries -- their threads

local function at(_, body)
  timers = timers + 1
  entries[#entries + 1] = coroutine.create(function()
    body()
    timers = timers - 1
  end)
  ready[#ready + 1] = entries[#entries]
  return 1
end

local function spawn(body)
  local thread = coroutine.create(body)
  resume(thread)
  return thread
end

local function kill(thread)
  killed[thread] = true
  return 1
end

local function play()
  time, ready, timers, killed, exits, entries = 0, {}, 0, {}, 0, {}
  return { OK = 0, ctx = {}, now = function() return time end, timer = { at = at },
    thread = { spawn = spawn, kill = kill }, exit = function() exits = exits + 1 end }
end

-- The specs --------------------------------------------------------------------

describe("contexts of handlers in nginx", function()
  local contexts, of_all, handles, told, loaded

  local NAMES = { "ngx.semaphore", "strand.loop.resty.contexts" }

  before_each(function()
    loaded = { ngx = rawget(_G, "ngx") }
    for _, name in ipairs(NAMES) do loaded[name] = package.loaded[name] end
    rawset(_G, "ngx", play())
    package.loaded["ngx.semaphore"], package.loaded["strand.loop.resty.contexts"] = semaphore, nil
    contexts = require "strand.loop.resty.contexts"
    handles, told = {}, {}
    of_all = contexts.new(THREADS, function(reason) told[#told + 1] = reason end)
  end)

  after_each(function()
    rawset(_G, "ngx", loaded.ngx)
    for _, name in ipairs(NAMES) do package.loaded[name] = loaded[name] end
  end)

  -- A handler that runs until it is let go, also when it is to leave; it may raise then.
  local function begin(raises)
    local handle = { leaves = false, killed = false, ended = false, gate = semaphore.new(0) }
    handle.of = of_all:spawn(function()
      handle.gate:wait()
      if raises then error(RAISED, 0) end
      handle.ended = true
    end, function(why)
      if why then handle.killed = why else handle.leaves = true end
    end)
    handles[#handles + 1] = handle
    return handle
  end

  local function fill()
    for _ = 1, THREADS do begin() end
    run()
    assert.equal(FULL, timers)
  end

  -- Its looks of three seconds.
  local function look()
    for _ = 1, 3 do
      time = time + 1
      of_all:call()
      run()
      of_all:look()
      run()
    end
  end

  local function grow_old()
    time = time + contexts.AGE
    look()
  end

  -- -> in how many contexts the handlers are told to leave, and how many handlers those are
  local function leaving()
    local seen, count, threads = {}, 0, 0
    for _, handle in ipairs(handles) do
      if handle.leaves then
        threads = threads + 1
        if not seen[handle.of.context] then
          seen[handle.of.context], count = true, count + 1
        end
      end
    end
    return count, threads
  end

  -- As many threads of one that is not given up as it may have killed.
  local function kill_some()
    local context, count = nil, 0
    for _, handle in ipairs(handles) do
      context = context or not handle.leaves and not handle.killed and handle.of.context
      if handle.of.context == context and count < contexts.KILLED_MOST then
        count = count + 1
        contexts.cancel(handle.of, "late")
      end
    end
    look()
    assert.equal(contexts.KILLED_MOST, count)
  end

  it("are noticed when they were ended, and their handlers have failed", function()
    local ended, lives = begin(), nil
    for _ = 1, MOST do lives = begin() end -- the last is in another one
    run()
    look()
    assert.same({ false, false }, { ended.killed, lives.killed })
    killed[entries[1]] = true
    look()
    assert.matches("context of the handler was ended, by ngx.exit%(%)", ended.killed)
    assert.same({ ended.killed }, told)
    assert.is_false(lives.killed)
  end)

  it("let a handler fail whose light thread has ended in an error, and no other", function()
    local ends, stays = begin(true), begin()
    run()
    ends.gate:post()
    run()
    look()
    assert.matches("nginx has ended the light thread of the handler", ends.killed)
    assert.same({ false, false, {} }, { stays.killed, stays.leaves, told })
  end)

  it("end with the threads that handlers have spawned, where those were given up", function()
    begin().gate:post()
    run()
    assert.equal(0, exits)
    begin()
    begin()
    run()
    of_all:cancel_all "the end"
    run()
    assert.same({ 1, true }, { exits, of_all:is_empty() })
  end)

  it("are given up a part at once when they are old", function()
    fill()
    look()
    assert.same({ 0, 0 }, { leaving() })
    grow_old()
    assert.same({ AT_ONCE, AT_ONCE * MOST }, { leaving() })
    for _, handle in ipairs(handles) do
      if handle.leaves then handle.gate:post() end
    end
    run()
    assert.equal(FULL - AT_ONCE, timers)
    look()
    assert.same({ 2 * AT_ONCE, 2 * AT_ONCE * MOST }, { leaving() })
  end)

  it("are given up for killed threads though as many are as may for their age, but one alone", function()
    fill()
    grow_old()
    kill_some()
    assert.same({ AT_ONCE + 1, (AT_ONCE + 1) * MOST - contexts.KILLED_MOST }, { leaving() })
    kill_some()
    assert.equal(AT_ONCE + 1, (leaving()))
  end)

  -- One stays of each that is given up; the others end, and as many begin elsewhere.
  local function renew()
    local stays, live = {}, 0
    for _, handle in ipairs(handles) do
      local context = handle.of.context
      if handle.leaves and stays[context] then handle.gate:post() end
      stays[context] = true
    end
    run()
    for _, handle in ipairs(handles) do
      if not handle.killed and not handle.ended then live = live + 1 end
    end
    for _ = live + 1, THREADS do begin() end
    run()
  end

  it("are no more than there may be timers, while handlers stay in those that are given up", function()
    fill()
    for _ = 1, 4 do
      grow_old()
      kill_some()
      renew()
      assert.is_true(timers <= contexts.need(THREADS), timers)
    end
    assert.equal(FULL + AT_ONCE + 1, contexts.need(THREADS))
  end)
end)
