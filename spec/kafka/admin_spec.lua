-- The admin on a real broker: an answer for each topic, group and partition,
-- and nothing changed beside what was asked for.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

local admin

local function open()
  fixture.open()
  admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
end

local function close()
  admin:close()
  fixture.close()
end

-- Ten records in each partition, a second apart, the first of a second ago.
local START = os.time() - 100000

local function fill(topic, partitions, count, value)
  local records = {}
  for i = 0, (count or 10) - 1 do
    for partition = 0, partitions - 1 do
      records[#records + 1] = { partition = partition, key = "key" .. i, timestamp = START + i,
        value = value and value(i) or "value" .. i, headers = { { "n", tostring(i) }, { "none" } } }
    end
  end
  fixture.produce(topic, records)
end

local function fails(code, ok, message, got, rest)
  assert.is_nil(ok)
  assert.equal(code, got, message)
  return message, rest
end

-- A topic that was just made, when the brokers know it.
local function made(partitions, config)
  local topic = helper.topic(partitions, config)
  helper.eventually(20, function() return admin:describe { topics = { topic } } end)
  return topic
end

-- { [partition] = field } of a list of places
local function by_partition(list, field)
  local found = {}
  for _, entry in ipairs(assert(list)) do found[entry.partition] = entry[field] end
  return found
end

describe("an admin's topics", function()
  setup(open)
  teardown(close)

  it("each have an answer when some cannot be made", function()
    local there, new = helper.topic(1), helper.name "new"
    local wrong, many = helper.name "wrong", helper.name "many"
    local ok, message, code, answers = admin:create_topics { [new] = 2, [there] = 1,
      [wrong] = { partitions = 1, config = { ["no.such.setting"] = "1" } },
      [many] = { partitions = 1, replication = 99 } }
    assert.is_nil(ok)
    assert.matches("and 2 more of 4", message, 1, true)
    assert.is_string(code)
    assert.is_true(answers[new])
    assert.equal("TOPIC_ALREADY_EXISTS", answers[there].code)
    assert.equal("INVALID_CONFIG", answers[wrong].code)
    assert.equal("INVALID_REPLICATION_FACTOR", answers[many].code)
    for _, name in ipairs { there, wrong, many } do
      assert.is_true(#answers[name].message > 5)
    end
    -- and what has an answer of true is there
    ok, message, code, answers = admin:delete_topics { new, wrong }
    assert.is_nil(ok)
    assert.equal("UNKNOWN_TOPIC_OR_PART", code)
    assert.matches("topic '" .. wrong .. "'", message, 1, true)
    assert.is_true(answers[new])
    assert.is_true(admin:delete_topics { there })
  end)

  it("get more partitions, and never fewer", function()
    local topic, missing = made(2), helper.name "missing"
    local _, answers = fails("UNKNOWN_TOPIC_OR_PART",
      admin:create_partitions { [topic] = 5, [missing] = 5 })
    assert.is_true(answers[topic])
    assert.equal("UNKNOWN_TOPIC_OR_PART", answers[missing].code)
    fails("INVALID_PARTITIONS", admin:create_partitions { [topic] = 3 })
    local count
    helper.eventually(20, function()
      count = #assert(admin:describe { topics = { topic } }).topics[topic].partitions
      return count > 2
    end)
    assert.equal(5, count)
  end)

  it("are described, with the cluster", function()
    local topic, missing = made(3), helper.name "missing"
    local known = assert(admin:describe { topics = { topic } })
    assert.is_true(#known.cluster_id > 5)
    assert.equal(1, #known.brokers)
    local broker = known.brokers[1]
    assert.same({ id = 1, host = "127.0.0.1",
      port = tonumber(helper.broker():match ":(%d+)$") }, broker)
    assert.equal(1, known.controller)
    assert.is_nil(known.topics[topic].config)
    for i, partition in ipairs(known.topics[topic].partitions) do
      assert.same({ partition = i - 1, leader = 1, replicas = { 1 }, isr = { 1 } }, partition)
    end
    assert.equal(3, #known.topics[topic].partitions)
    local message, rest = fails("UNKNOWN_TOPIC_OR_PART",
      admin:describe { topics = { topic, missing } })
    assert.matches("topic '" .. missing .. "'", message, 1, true)
    assert.equal(3, #rest.topics[topic].partitions)
    assert.is_table(assert(admin:describe()).topics[topic]) -- all of them
    assert.is_nil(assert(admin:describe { topics = {} }).topics[topic])
  end)

  it("count at once for groups: no number of partitions is kept", function()
    local topic, group = made(1), helper.name "group"
    assert.same({}, admin:group_offsets(group, { topic }))
    assert(admin:create_partitions { [topic] = 2 })
    helper.eventually(20, function()
      return #assert(admin:describe { topics = { topic } }).topics[topic].partitions == 2
    end)
    assert(admin:reset_offsets(group, { topics = { topic }, offset = "latest" }))
    assert.equal(2, #assert(admin:group_offsets(group, { topic })))
    fails("UNKNOWN_TOPIC_OR_PART", admin:group_offsets(group, { helper.name "missing" }))
  end)

  -- A broker makes what is asked for, unless it is told not to; this looks at
  -- what the client says, which a broker with auto.create.topics.enable obeys.
  it("do not begin to exist because somebody looks", function()
    local missing = helper.name "missing"
    fails("UNKNOWN_TOPIC_OR_PART", admin:describe { topics = { missing } })
    fails("UNKNOWN_TOPIC_OR_PART",
      admin:list_offsets { topics = { missing }, offset = "latest" })
    assert.is_nil(assert(admin:describe()).topics[missing])
  end)
end)

describe("an admin's settings", function()
  setup(open)
  teardown(close)

  local function config_of(topic)
    return assert(admin:describe { topics = { topic }, configs = true }).topics[topic].config
  end

  it("say where they come from", function()
    local config = config_of(made(1, { ["retention.ms"] = "86400000" }))
    assert.same({ value = "86400000", source = "DYNAMIC_TOPIC_CONFIG", default = false,
      read_only = false, sensitive = false }, config["retention.ms"])
    assert.same({ value = "delete", source = "DEFAULT_CONFIG", default = true,
      read_only = false, sensitive = false }, config["cleanup.policy"])
  end)

  it("of a broker never give a secret", function()
    local broker = assert(admin:describe { topics = {}, brokers = { 1 } }).brokers[1]
    local secret = broker.config["listener.name.sasl.plain.sasl.jaas.config"]
    assert.is_true(secret.sensitive)
    assert.is_nil(secret.value)
    assert.equal("STATIC_BROKER_CONFIG", broker.config["num.partitions"].source)
    assert.equal("8", broker.config["num.partitions"].value)
    for name, setting in pairs(broker.config) do
      assert.is_nil((setting.value or ""):find("secret", 1, true), name)
    end
    fails("UNKNOWN_BROKER", admin:describe { topics = {}, brokers = { 77 } })
  end)

  it("change alone: all others stay as they are", function()
    local topic = made(1, { ["retention.ms"] = "86400000", ["segment.bytes"] = "1048576" })
    local function values()
      local config = config_of(topic)
      return { config["retention.ms"].value, config["segment.bytes"].value,
        config["max.message.bytes"].value, config["retention.ms"].source }
    end
    assert.is_true(admin:alter_config { topic = topic, set = { ["max.message.bytes"] = 2000000 } })
    assert.same({ "86400000", "1048576", "2000000", "DYNAMIC_TOPIC_CONFIG" }, values())
    assert.is_true(admin:alter_config { topic = topic, unset = { "retention.ms" },
      set = { ["max.message.bytes"] = 3000000 } })
    assert.same({ "604800000", "1048576", "3000000", "DEFAULT_CONFIG" }, values())
  end)

  it("that are wrong change nothing", function()
    local topic = made(1, { ["retention.ms"] = "86400000" })
    fails("INVALID_CONFIG", admin:alter_config { topic = topic,
      set = { ["max.message.byte"] = 1, ["retention.ms"] = 5000 } })
    assert.equal("86400000", config_of(topic)["retention.ms"].value)
    fails("UNKNOWN_TOPIC_OR_PART", admin:alter_config { topic = helper.name "missing",
      set = { ["retention.ms"] = 5000 } })
    local ok, message = admin:alter_config { broker = 1, set = { ["log.dirs"] = "/" } }
    assert.is_nil(ok)
    assert.matches("'1': ", message, 1, true)
  end)

  it("of a broker change alone too", function()
    local function threads()
      local config = assert(admin:describe { topics = {}, brokers = { 1 } }).brokers[1].config
      return { config["log.cleaner.threads"].value, config["background.threads"].value,
        config["log.cleaner.threads"].source }
    end
    local before = threads()
    assert.is_true(admin:alter_config { broker = 1, set = { ["background.threads"] = 11 } })
    assert.is_true(admin:alter_config { broker = 1, set = { ["log.cleaner.threads"] = 2 } })
    assert.same({ "2", "11", "DYNAMIC_BROKER_CONFIG" }, threads())
    assert.is_true(admin:alter_config { broker = 1,
      unset = { "log.cleaner.threads", "background.threads" } })
    assert.same(before, threads())
  end)
end)

describe("an admin's offsets", function()
  local topic

  setup(function()
    open()
    topic = made(2)
    fill(topic, 2)
  end)
  teardown(close)

  local function offsets(where)
    where.topics = { topic }
    return by_partition(admin:list_offsets(where), "offset")
  end

  it("are those of the logs' starts, of their ends, and of a time", function()
    assert.same({ [0] = 0, 0 }, offsets { offset = "earliest" })
    assert.same({ [0] = 10, 10 }, offsets { offset = "latest" })
    assert.same({ [0] = 4, 4 }, offsets { time = START + 4 })
    assert.same({ [0] = 5, 5 }, offsets { time = START + 4.001 })
    assert.same({ 7 }, offsets { partition = 1, time = START + 7 })
    -- no record is as new: the end
    local late = assert(admin:list_offsets { topics = { topic }, time = os.time() + 1000 })
    assert.same({ [0] = 10, 10 }, by_partition(late, "offset"))
    assert.same({ [0] = true, true }, by_partition(late, "at_end"))
    fails("UNKNOWN_PARTITION",
      admin:list_offsets { topics = { topic }, partition = 2, offset = "latest" })
  end)

  it("are where records go away, and nothing else goes", function()
    local other = made(2)
    fill(other, 2)
    -- one is refused: none is deleted
    local places = { { topic = other, partition = 0, offset = 4 },
      { topic = other, partition = 1, offset = 11 } }
    local message = fails("OFFSET_OUT_OF_RANGE", admin:delete_records(places))
    assert.matches("partition 1 has no offset 11: its log begins at 0 and ends at 10", message, 1,
      true)
    local function starts()
      return by_partition(admin:list_offsets { topics = { other }, offset = "earliest" }, "offset")
    end
    assert.same({ [0] = 0, 0 }, starts())
    places[2].offset = 10
    assert.same({ [0] = 4, 10 }, by_partition(admin:delete_records(places), "offset"))
    assert.same({ [0] = 4, 10 }, starts())
    -- what is gone already
    places = { { topic = other, partition = 0, offset = 2 } }
    assert.same({ [0] = 4 }, by_partition(admin:delete_records(places), "offset"))
    fails("UNKNOWN_PARTITION", admin:delete_records { { topic = other, partition = 7, offset = 0 } })
    fails("UNKNOWN_TOPIC_OR_PART",
      admin:delete_records { { topic = helper.name "no", partition = 0, offset = 0 } })
  end)

  it("give their records, as a handler would see them", function()
    local list, ended = admin:read { topic = topic, partition = 1, offset = 3, records = 2 }
    assert.equal("records", ended)
    assert.equal(2, #list)
    local record = list[1]
    record.leader_epoch = nil -- librdkafka 2.0 does not know it
    assert.same({ id = topic .. "/1/3", topic = topic, partition = 1, offset = 3, key = "key3",
      value = "value3", timestamp = START + 3, timestamp_type = "create",
      headers = { { "n", "3" }, { "none" } } }, record)
    assert.equal("key4", list[2].key)
    -- by its id, and to a test of its handler
    record = admin:read(topic .. "/0/9")[1]
    local seen = strand.testing.record(record)
    assert.same({ "key9", "9", 9 }, { seen.key, seen:header "n", seen.offset })
  end)

  it("end a read at the log's end, at enough bytes, or at a time", function()
    local list, ended = admin:read { topic = topic, partition = 0, offset = 8, records = 10 }
    assert.same({ 2, "end" }, { #list, ended })
    list, ended = admin:read { topic = topic, partition = 0, offset = "earliest", records = 10,
      max_bytes = 30 }
    assert.same({ 2, "bytes" }, { #list, ended })
    list, ended = admin:read { topic = topic, partition = 0, time = START + 8.5, records = 10 }
    assert.same({ 1, "end", 9 }, { #list, ended, list[1].offset })
    for _, place in ipairs { { offset = "latest" }, { offset = 10 }, { time = os.time() } } do
      place.topic, place.partition = topic, 0
      list, ended = admin:read(place)
      assert.same({ 0, "end" }, { #list, ended })
    end
    local message = fails("OFFSET_OUT_OF_RANGE",
      admin:read { topic = topic, partition = 0, offset = 11 })
    assert.matches("begins at 0 and ends at 10", message, 1, true)
  end)

  it("of absent and empty bytes are told apart", function()
    local other = made(1)
    fixture.produce(other, { { key = "", value = "" }, {}, { key = "k", value = "a\0b" } })
    local list = admin:read { topic = other, partition = 0, offset = 0, records = 3 }
    assert.same({ "", "", "k", "a\0b" },
      { list[1].key, list[1].value, list[3].key, list[3].value })
    assert.is_nil(list[2].key)
    assert.is_nil(list[2].value)
  end)

  it("that a transaction took back are not read", function()
    local other = made(1)
    local member = require "spec.support.member"
    member.tool("transact", other, 0, "commit", 3)
    member.tool("transact", other, 0, "abort", 3)
    member.tool("transact", other, 0, "commit", 3)
    -- an end of a transaction is told before it stands in the log
    helper.eventually(20, function()
      return assert(admin:list_offsets { topics = { other }, offset = "latest" })[1].offset == 12
    end)
    local list, ended = admin:read { topic = other, partition = 0, offset = 0, records = 100 }
    local found = {}
    for i, record in ipairs(list) do found[i] = record.offset end
    assert.same({ 0, 1, 2, 8, 9, 10 }, found)
    assert.equal("end", ended)
  end)
end)

describe("an admin's groups", function()
  local topic, group, folder

  setup(open)
  teardown(close)
  after_each(fixture.clear)
  before_each(function()
    topic, group, folder = made(2), helper.name "group", fixture.folder()
  end)

  local function start(options)
    options = options or {}
    options.topics, options.handler_args = { topic }, folder
    options.retry = { attempts = 1 }
    -- One that is thrown out because the machine is slow runs what it did again.
    options.kafka = { ["group.id"] = group, ["client.id"] = "billing",
      ["session.timeout.ms"] = 30000 }
    return fixture.start(fixture.consumer(options))
  end

  local function done(consumer, count)
    helper.eventually(30, function() return fixture.count(folder, "leave") >= count end, consumer)
  end

  it("are listed, and tell who is in them and what each has", function()
    local consumer = start { members = 2 }
    helper.eventually(30, function() return #consumer:assignment() == 2 end, consumer)
    local listed
    for _, entry in ipairs(assert(admin:groups())) do
      if entry.group == group then listed = entry end
    end
    assert.equal("Stable", listed.state)
    assert.is_false(listed.simple)
    local described = assert(admin:groups { group })[1]
    assert.equal(1, described.coordinator.id)
    assert.equal("range", described.assignor)
    assert.equal(2, #described.members)
    local partitions, clients = {}, {}
    for _, member in ipairs(described.members) do
      clients[#clients + 1] = member.client_id
      assert.matches("127.0.0.1", member.host, 1, true)
      assert.matches("^billing", member.id)
      for _, place in ipairs(member.assignment) do
        assert.equal(topic, place.topic)
        partitions[#partitions + 1] = place.partition
      end
    end
    table.sort(partitions)
    table.sort(clients)
    assert.same({ 0, 1 }, partitions)
    assert.same({ "billing-0", "billing-1" }, clients)
    assert(consumer:close())
    described = assert(admin:groups { group, helper.name "nobody" })
    assert.same({ "Empty", "Dead" }, { described[1].state, described[2].state })
  end)

  it("have a lag, also where nothing was committed", function()
    fill(topic, 2)
    local lag = assert(admin:lag(group, { topic }))
    assert.same({ total = 20, true_total = 20, group = group, partitions = {
      { topic = topic, partition = 0, start_offset = 0, end_offset = 10, lag = 10, true_lag = 10 },
      { topic = topic, partition = 1, start_offset = 0, end_offset = 10, lag = 10, true_lag = 10 },
    } }, lag)
    fails("GROUP_ID_NOT_FOUND", admin:lag(group))
    -- without names: what the group has committed, or its members have
    local consumer = start()
    done(consumer, 20)
    assert.equal(2, #assert(admin:lag(group)).partitions)
    assert(consumer:close())
    fill(topic, 2, 3)
    lag = assert(admin:lag(group))
    assert.same({ 6, 6 }, { lag.total, lag.true_total })
    assert.equal(10, lag.partitions[2].committed)
    assert(admin:delete_records { { topic = topic, partition = 0, offset = 12 } })
    lag = assert(admin:lag(group)).partitions[1]
    assert.same({ 3, 1, 12 }, { lag.lag, lag.true_lag, lag.start_offset }) -- two are gone
  end)

  it("are reset only when nobody is in them, and the error says who is", function()
    fill(topic, 2)
    local consumer = start()
    done(consumer, 20)
    local message = fails("NON_EMPTY_GROUP",
      admin:reset_offsets(group, { topics = { topic }, offset = "earliest" }))
    assert.matches("group '" .. group .. "' has members (client 'billing' at /127.0.0.1", message,
      1, true)
    assert(consumer:commit())
    fails("GROUP_SUBSCRIBED_TO_TOPIC", admin:delete_group_offsets(group, { topic }))
    assert(consumer:close())
    assert.same({ [0] = 10, 10 }, by_partition(admin:group_offsets(group, { topic }), "offset"))
    assert.same({ [0] = 10, 10 }, by_partition(
      admin:reset_offsets(group, { topics = { topic }, offset = "earliest" }), "before"))
    assert.same({ [0] = 0, 0 }, by_partition(admin:group_offsets(group, { topic }), "offset"))
  end)

  -- The coordinator itself takes nothing from outside while there are members:
  -- one that joins between the look and the write cannot be undercut.
  it("are not reset by a write that a member has overtaken", function()
    fill(topic, 2)
    local consumer = start()
    done(consumer, 20)
    local list = assert(admin.core:write_offsets(group,
      { { topic = topic, partition = 0, at = 3 } }, 20))
    assert.equal("UNKNOWN_MEMBER_ID", list[1].code)
    assert(consumer:close())
    assert.equal(10, by_partition(admin:group_offsets(group, { topic }), "offset")[0])
  end)

  it("are reset to the ends, an offset, a time, and to what another answer says", function()
    fill(topic, 2)
    local function reset(where)
      local list = assert(admin:reset_offsets(group, where))
      local now = by_partition(admin:group_offsets(group, { topic }), "offset")
      for _, entry in ipairs(list) do assert.equal(entry.offset, now[entry.partition]) end
      return now
    end
    local names = { topic }
    assert.same({ [0] = 10, 10 }, reset { topics = names, offset = "latest" })
    assert.same({ [0] = 4, 4 }, reset { topics = names, time = START + 4 })
    assert.same({ [0] = 4, 7 }, reset { topics = names, partition = 1, offset = 7 })
    local late = { topics = names, time = os.time() } -- no record is as new: the end
    assert.same({ [0] = 10, 10 }, reset(late))
    assert.same({ [0] = true, true }, by_partition(admin:reset_offsets(group, late), "at_end"))
    assert.same({ [0] = 0, 0 }, reset { topics = names, offset = "earliest" })
    local places = assert(admin:list_offsets { topics = names, time = START + 8 })
    assert.same({ [0] = 8, 8 }, reset(places))
    local kept = assert(admin:group_offsets(group, names)) -- a copy, to go back to
    reset { topics = names, offset = "latest" }
    assert.same({ [0] = 8, 8 }, reset(kept))
    -- wrong in one place: nothing is written
    fails("OFFSET_OUT_OF_RANGE", admin:reset_offsets(group, {
      { topic = topic, partition = 0, offset = 1 }, { topic = topic, partition = 1, offset = 11 } }))
    fails("UNKNOWN_TOPIC_OR_PART", admin:reset_offsets(group, { topics = { topic, "nothing" },
      offset = "earliest" }))
    assert.same({ [0] = 8, 8 }, by_partition(admin:group_offsets(group, names), "offset"))
  end)

  -- A commit's metadata says which records above its offset are done. Had a
  -- reset left it there, they would not be read again.
  it("forget what was done above the offset when they are reset", function()
    topic = made(1)
    fill(topic, 1, 10, function(i) return i == 0 and "park broken" or "" end)
    local consumer = start()
    done(consumer, 10)
    local report = assert(consumer:close())
    assert.same({ 9, 1, 0, 1 }, { report.done, report.parked, report.lost, report.unfinished_total })
    local entry = fixture.committed(group, topic)[0]
    assert.equal(0, entry.offset)
    assert.equal(9, entry.decoded.highest)
    local lag = assert(admin:lag(group))
    assert.same({ 10, 1 }, { lag.total, lag.true_total })
    -- without a reset only the parked record is read again
    consumer = start()
    done(consumer, 11)
    assert(consumer:close())
    assert.equal(11, fixture.count(folder, "leave"))
    assert(admin:reset_offsets(group, { topics = { topic }, offset = "earliest" }))
    entry = fixture.committed(group, topic)[0]
    assert.same({ 0, "" }, { entry.offset, entry.metadata or "" })
    assert.equal(10, assert(admin:lag(group)).true_total)
    consumer = start()
    done(consumer, 21)
    assert(consumer:close())
    for offset = 0, 9 do
      assert.equal(offset == 0 and 3 or 2, fixture.count(folder, "leave", offset))
    end
  end)

  it("lose their offsets of some topics, and of no others", function()
    local other = made(1)
    fill(topic, 2)
    fill(other, 1)
    assert(admin:reset_offsets(group, { topics = { topic, other }, offset = "latest" }))
    assert.same({ [0] = 10, 10 }, by_partition(admin:delete_group_offsets(group, { topic }),
      "before"))
    local left = assert(admin:group_offsets(group))
    assert.equal(1, #left)
    assert.same({ other, 10 }, { left[1].topic, left[1].offset })
    assert.same({}, admin:delete_group_offsets(group, { topic }))
  end)

  it("are told of with the true cause by a broker that is not there", function()
    local lost = assert(strand.admin { log = false,
      kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } })
    local message = fails("TIMED_OUT", lost:groups({ "g" }, 1))
    assert.matches("Connection refused", message, 1, true)
    lost:close()
  end)
end)

-- Its examples are programs for a cluster that is there: they run here, in
-- their order, on topics and a group of their own.
describe("docs/admin.md", function()
  local names, printed

  setup(open)
  teardown(close)

  local function run(text)
    for name, own in pairs(names) do text = text:gsub(name, own) end
    local lines = {}
    local env = setmetatable({ print = function(...)
      local words = {}
      for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
      lines[#lines + 1] = table.concat(words, " ")
    end }, { __index = _G })
    local chunk
    if setfenv then chunk = setfenv(assert(loadstring(text)), env)
    else chunk = assert(load(text, "docs/admin.md", "t", env)) end
    chunk()
    return table.concat(lines, "\n")
  end

  it("has examples that do what they say", function()
    local own = helper.name(""):gsub("%W", "_")
    names = { ["localhost:9092"] = helper.broker(), orders = "orders" .. own,
      invoices = "invoices" .. own, billing = "billing" .. own }
    local orders, first = names.orders, true
    printed = {}
    for block in helper.read "docs/admin.md":gmatch "```lua\n(.-)```" do
      printed[#printed + 1] = run(block)
      if first then
        helper.eventually(20, function() return admin:describe { topics = { orders } } end)
        fill(orders, 11)
      end
      first = false
    end
    assert.equal(10, #printed)
    assert.matches("^%S+ 1 brokers$", printed[1])
    assert.equal(3, #assert(admin:describe()).topics[names.invoices].partitions)
    assert.matches("10 1 1 of 1 in sync\n604800000 DEFAULT_CONFIG", printed[2], 1, true)
    assert.equal("259200000", assert(admin:describe { topics = { orders }, configs = true })
      .topics[orders].config["retention.ms"].value)
    assert.matches("110 behind, 110 of them not done", printed[4], 1, true)
    assert.matches(names.billing .. " Dead", printed[5], 1, true)
    assert.matches("^0 nothing %-> 10\n", printed[6])
    assert.matches("^key2 value2 " .. START + 2 .. "[.0]*\nn 2\nnone nil\ndone$", printed[7])
    assert.equal("0 end", printed[8])
    assert.matches("^0 begins at 0\n", printed[10])
    assert.equal(22, #assert(admin:describe { topics = { orders } }).topics[orders].partitions)
    assert(admin:delete_topics { orders, names.invoices })
  end)
end)
