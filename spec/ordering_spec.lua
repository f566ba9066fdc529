-- What stays in order, what runs side by side, and what blocks what. Handlers
-- note each entry and each leave; the journal is audited afterwards.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local modes = require "spec.support.modes"

-- Whether two handlers of different offsets were ever in at once.
local function overlaps(lines)
  local inside = 0
  for _, line in ipairs(lines) do
    inside = inside + (line.what == "enter" and 1 or -1)
    if inside > 1 then return true end
  end
  return false
end

-- The journal's lines by shard, which 'shard_of' names.
local function by_shard(lines, shard_of)
  local shards = {}
  for _, line in ipairs(lines) do
    local name = shard_of(line)
    shards[name] = shards[name] or {}
    table.insert(shards[name], line)
  end
  return shards
end

local function assert_in_order(lines)
  local last = -1
  for _, line in ipairs(lines) do
    if line.what == "enter" then
      assert.is_true(line.offset > last or line.offset == last and line.attempt > 1,
        ("offset %d after %d"):format(line.offset, last))
      last = line.offset
    end
  end
end

-- At most one at a time in each shard, in offset order.
local function audit(lines, shard_of)
  for _, shard in pairs(by_shard(lines, shard_of)) do
    assert.is_false(overlaps(shard))
    assert_in_order(shard)
  end
end

local function key_of(line)
  return line.partition .. "/" .. (line.key or "(null)")
end

local function partition_of(line) return line.partition end

-- Each starts a consumer of its own in setup(), and all of them join together.
describe("ordering", function()
  local scenes = {}

  -- A scene is a topic, a folder, and a consumer with these options.
  local function scene(name, partitions, options, records)
    local topic, folder = helper.topic(partitions), fixture.folder()
    fixture.produce(topic, records)
    options.topics, options.handler_args = { topic }, folder
    options.workers = options.workers or 8
    scenes[name] = { topic = topic, folder = folder, count = #records,
      consumer = fixture.consumer(options) }
    return scenes[name].consumer
  end

  -- Five keys and null keys in turn, each record a little busy.
  local function mixed(count, partitions)
    local records = {}
    for i = 1, count do
      local key = i % 6
      records[i] = { key = key > 0 and "k" .. key or nil, value = "take 0.001",
        partition = i % partitions }
    end
    return records
  end

  -- These records, each held at gate "g".
  local function held(records)
    for _, record in ipairs(records) do record.value = "gate g" end
    return records
  end

  local function times(count, record)
    local records = {}
    for i = 1, count do records[i] = { key = record.key } end
    return records
  end

  setup(function()
    fixture.open()
    fixture.start(
      scene("key", 2, {}, mixed(300, 2)),
      scene("partition", 4, { ordering = "partition" }, mixed(200, 4)),
      scene("partition held", 2, { ordering = "partition" },
        { { key = "a", value = "gate g", partition = 0 }, { key = "b", partition = 0 },
          { key = "c", partition = 1 } }),
      scene("unordered", 1, { ordering = "unordered" }, held(times(8, { key = "same" }))),
      scene("null keys", 1, {}, held { {}, { key = "" }, {} }),
      scene("null keys unordered", 1, { null_key = "unordered" },
        held { {}, {}, { key = "" }, { key = "" } }),
      scene("header", 1, { ordering_key = { header = "order" } }, held {
        { key = "x", headers = { { "order", "1" } } },
        { key = "x", headers = { { "order", "2" } } },
        { key = "y", headers = { { "order", "9" }, { "order", "1" } } }, -- the last one: 1
        { key = "z" },                                                   -- a null key
        { key = "w", headers = { { "other", "1" } } },                   -- another null key
        { key = "v", headers = { { "order", "" } } },                    -- empty is a key
      }),
      scene("failing", 1, { retry = { delay = 0.05, factor = 1, jitter = 0 } }, {
        { key = "f", value = "fail 3" }, { key = "f" }, { key = "g" }, { key = "f" },
        { key = "g" }, { key = "h" },
      }),
      scene("two members", 4, { members = 2, workers = 4 }, {}),
      scene("same key", 2, {}, {
        { key = "k", value = "gate g", partition = 0 }, { key = "k", value = "gate g", partition = 1 },
      })
    )
  end)
  teardown(fixture.close)

  local function inside(name)
    local folder = scenes[name].folder
    return fixture.count(folder, "enter") - fixture.count(folder, "leave")
  end

  -- Waits until all is done, and returns the journal.
  local function finished(name)
    local this = scenes[name]
    helper.eventually(20, function() return fixture.count(this.folder, "leave") >= this.count end,
      this.consumer)
    helper.eventually(5, function() return this.consumer:stats().done == this.count end,
      this.consumer)
    return fixture.journal(this.folder)
  end

  -- So many handlers are at the gate, and no more come.
  local function assert_held(name, count)
    local consumer = scenes[name].consumer
    helper.eventually(10, function() return inside(name) == count end, consumer)
    helper.eventually(2, fixture.pause(0.2), consumer)
    assert.equal(count, inside(name))
  end

  local function release(name) fixture.release(scenes[name].folder, "g") end

  it("'key' has at most one handler for each key of a partition, in offset order", function()
    audit(finished "key", key_of)
  end)

  it("'key' runs different keys side by side", function()
    local lines = finished "key"
    for partition = 0, 1 do
      assert.is_true(overlaps(by_shard(lines, partition_of)[partition]))
    end
  end)

  it("'key' is by partition too: the same key in another one is another", function()
    assert_held("same key", 2)
    release "same key"
    finished "same key"
  end)

  it("'partition' has at most one handler for each partition, in offset order", function()
    audit(finished "partition", partition_of)
  end)

  it("'partition' holds back the rest of that partition, and no other", function()
    assert_held("partition held", 1)
    assert.equal(1, scenes["partition held"].consumer:stats().done)
    release "partition held"
    audit(finished "partition held", partition_of)
  end)

  it("'unordered' runs records of one key side by side", function()
    assert_held("unordered", 8)
    release "unordered"
    finished "unordered"
  end)

  it("has null keys of a partition one after another, and an empty key apart", function()
    assert_held("null keys", 2)
    release "null keys"
    audit(finished "null keys", key_of)
  end)

  it("has null keys side by side with null_key = 'unordered', and empty keys not", function()
    assert_held("null keys unordered", 3)
    release "null keys unordered"
    finished "null keys unordered"
  end)

  it("by a header takes its last value; without it the key is null", function()
    assert_held("header", 4)
    local entered = {}
    for _, line in ipairs(fixture.journal(scenes.header.folder)) do entered[line.offset] = true end
    assert.same({ [0] = true, true, [3] = true, [5] = true }, entered)
    release "header"
    audit(finished "header", function(line)
      return ({ [0] = "1", "2", "1", "null", "null", "" })[line.offset]
    end)
  end)

  it("lets a failing record block its own key only, and come again before the next", function()
    local lines = finished "failing"
    audit(lines, key_of)
    local order = {}
    for _, line in ipairs(lines) do
      if line.what == "enter" then
        order[#order + 1] = line.key .. line.offset .. (line.attempt > 1 and "'" or "")
      end
    end
    local text = table.concat(order, " ")
    assert.matches("f0 .*f0' f0' f0' f1 .*f3", text)
    -- The others have not waited for it.
    for _, other in ipairs { "g2", "g4", "h5" } do
      assert.is_true(text:find(other, 1, true) < text:find("f0'", 1, true), text)
    end
  end)

  it("holds for two members in one consumer, which share the partitions", function()
    local this = scenes["two members"]
    helper.eventually(20, function() -- the second one may come late
      local members = {}
      for _, place in ipairs(this.consumer:assignment()) do
        members[place.member] = (members[place.member] or 0) + 1
      end
      return members[0] == 2 and members[1] == 2
    end, this.consumer)
    fixture.produce(this.topic, mixed(300, 4))
    this.count = 300
    audit(finished "two members", key_of)
  end)
end)

describe("fairness", function()
  setup(fixture.open)
  teardown(fixture.close)

  -- Eleven partitions; one of them has a hundred times as much, and came
  -- first. The buffer holds two records of each.
  it("lets every partition go on, with any buffer size", function()
    local topic, folder = helper.topic(11), fixture.folder()
    local records = {}
    for i = 1, 2000 do records[i] = { key = "k" .. i % 7, partition = 0, value = "take 0.0005" } end
    for partition = 1, 10 do
      for i = 1, 20 do
        records[#records + 1] = { key = "k" .. i % 7, partition = partition, value = "take 0.0005" }
      end
    end
    fixture.produce(topic, records)
    local consumer = fixture.consumer { topics = { topic }, handler_args = folder, workers = 2,
      max_buffered_records = 22 }
    assert(consumer:start())
    helper.eventually(40, function() return consumer:stats().done == #records end, consumer)
    local lines = fixture.journal(folder)
    audit(lines, key_of)
    -- All small partitions were through before half of the large one was.
    local large, small = 0, 0
    for _, line in ipairs(lines) do
      if line.what == "leave" then
        if line.partition == 0 then large = large + 1 else small = small + 1 end
        if small == 200 then break end
      end
    end
    assert.is_true(large < 1000, ("%d of the large partition came first"):format(large))
  end)

  it("lets a partition that holds nothing take one record, however large", function()
    local topic, folder = helper.topic(3), fixture.folder()
    local large = ("x"):rep(100000)
    local records = {}
    for i = 1, 9 do records[i] = { key = "k" .. i, partition = i % 3, value = large } end
    fixture.produce(topic, records)
    local consumer = fixture.consumer { topics = { topic }, handler_args = folder,
      max_buffered_bytes = 4096 }
    assert(consumer:start())
    helper.eventually(20, function() return consumer:stats().done == 9 end, consumer)
  end)
end)

modes.each(describe, "a rebalance while a handler runs", function(mode)
  setup(function() fixture.open(mode) end)
  teardown(fixture.close)

  -- Another member of the group wants another topic: so all partitions are
  -- taken away, and come back to the same consumer.
  it("starts its key again only when that handler has returned", function()
    local topic, other = helper.topic(2), helper.topic(1)
    local folder, kafka = fixture.folder(), {
      ["group.id"] = helper.name "group", ["session.timeout.ms"] = 3000,
      ["heartbeat.interval.ms"] = 500,
    }
    local assigned = 0
    local consumer = fixture.start(fixture.consumer { topics = { topic }, kafka = kafka,
      handler_args = folder, members = 2, revoke_grace = 0.1, on_event = function(event)
        if event.type == "assigned" then assigned = assigned + 1 end
      end })
    helper.eventually(20, function() -- both are members, each with a partition
      local list = consumer:assignment()
      return #list == 2 and list[1].member ~= list[2].member
    end, consumer)
    local records = {}
    for partition = 0, 1 do
      records[#records + 1] = { key = "held", partition = partition, value = "gate g" }
      records[#records + 1] = { key = "held", partition = partition }
      records[#records + 1] = { key = "free", partition = partition }
    end
    fixture.produce(topic, records)
    helper.eventually(10, function()
      return fixture.count(folder, "enter", 0) == 2 and fixture.count(folder, "leave", 2) == 2
    end, consumer)
    assert.is_true(consumer:commit()) -- the mock takes none inside a rebalance
    local before = assigned
    local second = fixture.consumer { topics = { other }, kafka = kafka }
    assert(second:start())
    helper.eventually(30, function()
      local list = consumer:assignment()
      return assigned >= before + 2 and #list == 2 and list[1].state == "running"
        and list[2].state == "running"
    end, consumer, second)
    helper.eventually(2, fixture.pause(0.5), consumer, second)
    assert.equal(2, fixture.count(folder, "enter", 0)) -- still the first time
    assert.equal(0, fixture.count(folder, "enter", 1))
    fixture.release(folder, "g")
    -- More than two where another rebalance comes: the mock commits none in it.
    helper.eventually(10, function() return fixture.count(folder, "leave", 1) >= 2 end,
      consumer, second)
    local lines = fixture.journal(folder)
    for _, shard in pairs(by_shard(lines, key_of)) do assert.is_false(overlaps(shard)) end
    -- The handler's answer came after its partition had gone: again, then.
    assert.is_true(fixture.count(folder, "enter", 0) >= 4)
    -- What was done and committed is not repeated.
    assert.equal(2, fixture.count(folder, "enter", 2))
  end)
end)
