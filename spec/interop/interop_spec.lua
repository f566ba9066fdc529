-- A group that goes from the Java parallel consumer to strand, or back, while
-- records in between are open: what one of them did the other does not do
-- again, and nothing is forgotten. On a real broker, with the Java program
-- that 'make build/java/complete' builds.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local peer = require "spec.support.peer"

local missing, repeated = 0, 0

-- ---- what is sent ----------------------------------------------------------

-- Whether record i is among one in so many, the same each time.
local function one_in(share, i)
  return i * 16807 % 2147483647 * 48271 % 2147483647 % share == 0
end

-- Which records of a partition stay open, and the codec in which strand then
-- writes the commit. One partition each.
local HOLES = {
  { codec = "RunLengthV2", count = 600, open = function(i) return i % 90 == 3 end },
  { codec = "BitSetV2", count = 400, open = function(i) return one_in(2, i) end },
  { codec = "BitSetV2Compressed", count = 3000, open = function(i)
    return i % 1000 < 100 and one_in(2, i)
  end },
  { codec = "BitSetV2", count = 600, open = function(i) return not one_in(10, i) end },
  { codec = "RunLengthV2", count = 600, open = function(i) return i == 0 end },
  { count = 100, open = function() return false end },
  { count = 100, open = function() return true end },
}

-- With keys that are null or empty, and values that are.
local function unordered_record(i, open)
  local record = { key = "key" .. i, value = open and "fail 1" or "value" }
  if i % 11 == 0 then record.key = nil elseif i % 13 == 0 then record.key = "" end
  if not open and i % 5 == 0 then record.value = nil end
  if not open and i % 7 == 0 then record.value = "" end
  return record
end

-- The half of what was sent that is done in the first place: its ids.
local function half_of(sent, is_done)
  local half = { count = 0 }
  for _, record in ipairs(sent) do
    if is_done(record) then half[record.id], half.count = true, half.count + 1 end
  end
  return half
end

-- Each of these returns the topic, what was sent, and its half.
local function send_unordered()
  local topic, list = helper.topic(#HOLES), {}
  for number, holes in ipairs(HOLES) do
    for i = 0, holes.count - 1 do
      local record = unordered_record(i, holes.open(i))
      record.partition = number - 1
      list[#list + 1] = record
    end
  end
  local sent = audit.send(topic, #list, function(i) return list[i] end)
  return topic, sent, half_of(sent, function(record)
    return not HOLES[record.partition + 1].open(record.offset)
  end)
end

local KEYS = 60

local function key_name(number)
  return number == 0 and "" or "key" .. number
end

-- Each fourth key is stuck from one of its records on; those behind it have no
-- value.
local function send_by_key()
  local topic, stuck_from = helper.topic(3), {}
  for number = 0, KEYS - 1, 4 do stuck_from[key_name(number)] = number * 7 % 50 end
  local sent = audit.send(topic, KEYS * 50, function(i)
    local key, turn = key_name(i % KEYS), math.floor((i - 1) / KEYS)
    local from = stuck_from[key] or math.huge
    local value = turn < from and "value" or turn == from and "fail 1" or nil
    return { key = key, value = value }
  end)
  local turns = {}
  return topic, sent, half_of(sent, function(record)
    local turn = turns[record.key] or 0
    turns[record.key] = turn + 1
    return turn < (stuck_from[record.key] or math.huge)
  end)
end

-- ---- the two members ---------------------------------------------------------

-- Its buffer holds everything: when records that wait fill it, it stops reading.
local function java_half(scene, codec)
  local records = tostring(scene.half.count)
  local printed = peer.run("half", { topic = scene.topic, group = scene.group,
    order = scene.ordering:upper(), log = scene.log.path, records = records,
    codec = codec, concurrency = "100", buffer = "10000" })
  assert.equal("done " .. records .. "\n", printed)
end

local function java_rest(scene)
  local records = tostring(#scene.sent - scene.half.count)
  local printed = peer.run("rest", { topic = scene.topic, group = scene.group,
    order = scene.ordering:upper(), log = scene.log.path, records = records })
  assert.equal("done " .. records .. "\n", printed)
end

local function start(scene, delay)
  return member.start { group = scene.group, topics = { scene.topic }, workers = 8,
    ordering = scene.ordering, audit = scene.log, commit_interval = 0.2,
    retry = { delay = delay, max_delay = delay, jitter = 0 } }
end

local function strand_half(scene)
  local consumer = start(scene, 3600)
  scene.log:wait(30, scene.half.count, consumer)
  assert(consumer:close())
end

-- Until it has read to the end of each partition and has nothing left to do,
-- not until all records are done: a repeated one might come last.
local function strand_rest(scene)
  local consumer = start(scene, 0.01)
  scene.log:wait(30, #scene.sent, consumer)
  helper.eventually(30, function()
    local left, list = 0, consumer:assignment()
    for _, partition in ipairs(list) do left = left + (partition.lag or 1) end
    return #list > 0 and left == 0
  end, consumer)
  assert(consumer:close { mode = "drain" })
end

-- ---- what the group knows ------------------------------------------------------

-- The codec's first byte, out of two characters of base64.
local function magic(metadata)
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local first = alphabet:find(metadata:sub(1, 1), 1, true) - 1
  local second = alphabet:find(metadata:sub(2, 2), 1, true) - 1
  return string.char(first * 4 + math.floor(second / 16))
end

-- The commits say that the half is done, and nothing else.
local function check_half(scene)
  local entries, wrong = member.committed(scene.group, scene.topic), 0
  for _, record in ipairs(scene.sent) do
    local covered = member.covers(entries[record.partition], record.offset)
    if covered ~= (scene.half[record.id] == true) then wrong = wrong + 1 end
  end
  assert.equal(0, wrong)
  return entries
end

local function check_end(scene)
  local result = scene.log:result(scene.sent)
  missing, repeated = missing + result.lost, repeated + result.repeated
  assert.same(audit.GOOD, result)
  local ends, committed = {}, {}
  for _, record in ipairs(scene.sent) do ends[record.partition] = record.offset + 1 end
  for partition, entry in pairs(member.committed(scene.group, scene.topic)) do
    committed[partition] = entry.offset
  end
  assert.same(ends, committed)
end

local function scene_of(ordering)
  local send = ordering == "key" and send_by_key or send_unordered
  local scene = { ordering = ordering, group = helper.name "group", log = audit.new(ordering) }
  scene.topic, scene.sent, scene.half = send()
  return scene
end

-- ---- there and back ------------------------------------------------------------

describe("a group", function()
  after_each(member.end_all)
  teardown(function()
    print(("figure interop_repeated %d\nfigure interop_missing %d"):format(repeated, missing))
  end)

  for _, ordering in ipairs { "key", "unordered" } do
    it("goes from the Java parallel consumer to strand, by " .. ordering, function()
      local scene = scene_of(ordering)
      java_half(scene)
      check_half(scene)
      strand_rest(scene)
      check_end(scene)
    end)
  end

  for _, pair in ipairs { { "BitSet", "l" }, { "BitSetCompressed", "a" },
    { "BitSetV2", "o" }, { "BitSetV2Compressed", "s" }, { "RunLength", "n" },
    { "RunLengthCompressed", "J" }, { "RunLengthV2", "e" }, { "RunLengthV2Compressed", "p" } } do
    local codec, byte = pair[1], pair[2]
    it("goes from the Java parallel consumer to strand, its commits in " .. codec, function()
      local scene = scene_of "unordered"
      java_half(scene, codec)
      for partition, entry in pairs(check_half(scene)) do
        if HOLES[partition + 1].codec then assert.equal(byte, magic(entry.metadata)) end
      end
      strand_rest(scene)
      check_end(scene)
    end)
  end

  it("goes from strand to the Java parallel consumer, by key", function()
    local scene = scene_of "key"
    strand_half(scene)
    check_half(scene)
    java_rest(scene)
    check_end(scene)
  end)

  it("goes from strand to the Java parallel consumer, from each codec that strand writes", function()
    local scene, bytes = scene_of "unordered", { RunLengthV2 = "e", BitSetV2 = "o",
      BitSetV2Compressed = "s" }
    strand_half(scene)
    local entries = check_half(scene)
    for number, holes in ipairs(HOLES) do
      local metadata = (entries[number - 1] or {}).metadata or ""
      assert.equal(bytes[holes.codec], metadata ~= "" and magic(metadata) or nil)
    end
    java_rest(scene)
    check_end(scene)
  end)
end)
