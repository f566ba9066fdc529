-- What the system does not give: a name for what is missing, the limit that
-- was met, and nothing half done.
local helper = require "spec.support.helper"
local stage = require "spec.support.stage"

-- In the processes below: their own limits, and what they hold.
local LIMITS = [[
  local strand = require "strand"
  local pid = assert(io.open("/proc/self/stat")):read "*l":match "^(%d+)"
  local function limit(what, value)
    assert(os.execute(("prlimit --pid %s --%s=%s:"):format(pid, what, value)))
  end
  local function size()
    local file = assert(io.open "/proc/self/status")
    local kib = file:read "*a":match "VmSize:%s*(%d+)"
    file:close()
    return kib * 1024
  end
]]

describe("configure without threads", function()
  local topic, folder, child

  local PROGRAM = LIMITS .. [[
    local bootstrap, topic, folder, group = ...
    local consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = bootstrap, ["group.id"] = group,
        ["fetch.wait.max.ms"] = 10 },
      topics = { topic }, workers = 2, handler = "spec.handlers.actor", handler_args = folder,
      retry = { attempts = 3, delay = 3600 },
    })
    assert(consumer:start())
    io.stdout:setvbuf "line"
    local function say(what, ok, message, code)
      print(what, ok, code, message, consumer:stats().workers)
    end
    local stack = rawget(_G, "jit") and 128 or 8
    local ROOM = math.floor(3.5 * stack) * 2^20 -- for a few of them
    local steps = {
      function()
        limit("as", ("%.0f"):format(size() + ROOM))
        local ok, message, code = consumer:configure { workers = 200,
          retry = function() return 0 end }
        limit("as", "unlimited")
        say("more", ok, message, code)
      end,
      function() say("interval", consumer:configure { commit_interval = 1 }) end,
      function() say("four", consumer:configure { workers = 4 }) end,
    }
    for i, step in ipairs(steps) do
      while not io.open(folder .. "/step" .. i) do assert(consumer:step(0.01)) end
      step()
    end
    while true do consumer:step(0.01) end
  ]]

  setup(function()
    stage.open()
    topic, folder = helper.topic(1), stage.folder()
    local records = {}
    for i = 1, 8 do records[i] = { key = "k" .. i, value = "gate many" } end
    records[9] = { key = "f", value = "fail 2" }
    stage.produce(topic, records)
    child = helper.spawn(PROGRAM, helper.bootstrap(), topic, folder, helper.name "group")
  end)
  teardown(stage.close)

  local function held()
    return stage.count(folder, "enter") - stage.count(folder, "leave")
  end

  it("has not happened, and names the limit", function()
    helper.eventually(30, function() return held() == 2 end)
    stage.release(folder, "step1")
    child:says("more\tnil\tNO_THREAD\tworker")
    assert.matches("of 198 could not start: Resource temporarily unavailable "
      .. "%(RLIMIT_NPROC %w+, RLIMIT_AS %d+", child:output())
    helper.eventually(1, stage.pause(0.3))
    assert.equal(2, held())
  end)

  it("is not brought back by the next", function()
    stage.release(folder, "step2")
    child:says("interval\ttrue\tnil\tnil\t2")
    helper.eventually(1, stage.pause(0.3))
    assert.equal(2, held())
  end)

  it("works when there are threads", function()
    stage.release(folder, "step3")
    child:says("four\ttrue")
    helper.eventually(10, function() return held() == 4 end)
  end)

  it("left the retry function as it was", function()
    stage.release(folder, "many")
    helper.eventually(10, function() return stage.count(folder, "leave") == 9 end)
    helper.eventually(1, stage.pause(0.3))
    assert.equal(1, stage.count(folder, "enter", 8)) -- in an hour
  end)
end)
