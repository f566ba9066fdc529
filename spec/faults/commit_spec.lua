-- Commits whose answers are errors, of 20 consumers at once: what the group
-- knows to be done never becomes less, as a reader outside of it sees it.
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"

local CONSUMERS, PARTITIONS, REQUESTS = 20, 4, 10000
local FAULTS = { "COORDINATOR_LOAD_IN_PROGRESS", "REQUEST_TIMED_OUT", "NOT_COORDINATOR" }
local LAST = "TOPIC_AUTHORIZATION_FAILED"

-- The cluster takes one from its stack for each commit request of anybody.
-- When a consumer is told LAST, as many requests as are below it were made.
local function inject(mock)
  local faults, seed = 0, 1
  for _ = 1, REQUESTS do
    seed = seed * 16807 % 2147483647
    local code = "NO_ERROR"
    if seed % 1000 < 300 then
      code, faults = FAULTS[faults % #FAULTS + 1], faults + 1
    end
    assert(mock:fail("OffsetCommit", code, 1))
  end
  assert(mock:fail("OffsetCommit", LAST, 1))
  return faults
end

-- librdkafka tries a refused commit again after this time, seconds. It is longer
-- than the time between commits: a second commit in flight would be overtaken.
local BACKOFF, INTERVAL = 0.05, 0.01

-- Some records take long, so that most commits have metadata.
local function handler(record)
  local slow = record.offset % 50 == 0 and 0.5 or 0.03
  require "system".sleep(slow * math.random())
end

local function open_consumers(topic)
  local consumers, told = {}, { failed = 0 }
  for number = 1, CONSUMERS do
    local group = helper.name "group"
    local consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = helper.bootstrap(), ["group.id"] = group,
        ["retry.backoff.ms"] = BACKOFF * 1000, ["fetch.wait.max.ms"] = 10 },
      topics = { topic }, ordering = "unordered", workers = 4, commit_interval = INTERVAL,
      handler = handler, log = function() end,
      on_event = function(event)
        if event.type ~= "commit_failed" then return end
        told.failed = told.failed + 1
        told.last = told.last or event.code == LAST
      end,
    })
    assert(consumer:start())
    consumers[number] = { consumer = consumer, group = group, known = {} }
  end
  return consumers, told
end

-- Records that the earlier entry says are done and the later one does not;
-- and 1 when the offset went back.
local function regressions(earlier, later)
  local count = later.offset < earlier.offset and 1 or 0
  if earlier.metadata == "" then return count end
  member.covers(earlier, earlier.offset)
  for offset = later.offset, earlier.highest do
    if member.covers(earlier, offset) and not member.covers(later, offset) then
      count = count + 1
    end
  end
  return count
end

local function look(scene, one)
  for _, entry in ipairs(assert(scene.admin:group_offsets(one.group, { scene.topic }))) do
    local earlier = one.known[entry.partition]
    if earlier then scene.regressions = scene.regressions + regressions(earlier, entry) end
    one.known[entry.partition] = entry
    scene.looks = scene.looks + 1
  end
end

-- ---- running -----------------------------------------------------------------

-- Keeps each consumer supplied, and looks at what each group knows, until
-- 'condition' holds.
local function look_until(limit, scene, condition)
  helper.eventually(limit, function()
    for _, one in ipairs(scene.consumers) do
      look(scene, one)
      assert(one.consumer:step(0))
    end
    return condition()
  end)
end

local function least_done(scene)
  local least = math.huge
  for _, one in ipairs(scene.consumers) do least = math.min(least, one.consumer:stats().done) end
  return least
end

local function supply(scene)
  while scene.sent < least_done(scene) + 2000 do
    for _ = 1, 200 do
      scene.sent = scene.sent + 1
      assert(scene.producer:send { topic = scene.topic, partition = scene.sent % PARTITIONS,
        value = "value" })
    end
  end
end

local function start()
  local kafka = { ["bootstrap.servers"] = helper.bootstrap() }
  local scene = { sent = 0, looks = 0, regressions = 0 }
  scene.topic = helper.topic(PARTITIONS)
  scene.faults = inject(helper.mock())
  scene.producer = assert(strand.producer { kafka = kafka, topics = { scene.topic } })
  scene.admin = assert(strand.admin { kafka = kafka })
  scene.consumers, scene.told = open_consumers(scene.topic)
  return scene
end

-- What the groups know in the end is that all is done.
local function check_end(scene)
  local want = {}
  for partition = 0, PARTITIONS - 1 do want[partition] = scene.sent / PARTITIONS end
  for _, one in ipairs(scene.consumers) do
    local report, committed = assert(one.consumer:close()), {}
    assert.same({ scene.sent, {}, false }, { report.done, report.unfinished, report.detached })
    look(scene, one)
    for partition, entry in pairs(one.known) do committed[partition] = entry.offset end
    assert.same(want, committed)
  end
end

describe("commits that fail", function()
  teardown(helper.close_cluster)

  it("never take back what a group knows to be done", function()
    local scene = start()
    look_until(120, scene, function()
      supply(scene)
      return scene.told.last
    end)
    assert(scene.producer:flush(10))
    scene.producer:close()
    look_until(60, scene, function() return least_done(scene) == scene.sent end)
    check_end(scene)
    scene.admin:close()
    print(("figure commit_requests %d\nfigure commit_faults %d\nfigure commit_looks %d\n"
      .. "figure commit_regressions %d"):format(REQUESTS, scene.faults, scene.looks,
      scene.regressions))
    assert.equal(0, scene.regressions)
    assert.is_true(scene.told.failed > 1, "no fault came through to a consumer")
  end)
end)
