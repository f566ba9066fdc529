-- Dead letters: what they carry, when their record is done, and what becomes
-- of those that cannot be sent. Topics that are missing, and limits that a
-- broker sets: spec/kafka/dead_letter_spec.lua.
local helper = require "spec.support.helper"
local letters = require "spec.support.letters"
local fixture = require "spec.support.fixture"
local strand = require "strand"

local RETRY = { attempts = 3, delay = 0.01, jitter = 0 }

local function send(servers, topic, records)
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = servers } })
  for _, record in ipairs(records) do
    record.topic = topic
    assert(producer:send(record))
  end
  assert(producer:flush(20))
  producer:close()
end

-- A record that does so. More fields: those of producer:send.
local function poison(act, why, record)
  record = record or {}
  record.headers = record.headers or {}
  table.insert(record.headers, { "do", act })
  table.insert(record.headers, { "why", why })
  return record
end

local function count(events, type, fields)
  local n, last = 0, nil
  for _, event in ipairs(events) do
    local same = event.type == type
    for name, value in pairs(fields or {}) do same = same and event[name] == value end
    if same then n, last = n + 1, event end
  end
  return n, last
end

-- What is the same for every consumer here: a source topic of its own, and a
-- group; 'dead_letter' and the rest come from 'options'.
local function scene(options, records, partitions)
  local this = { topic = helper.topic(partitions or 1), group = helper.name "group", events = {},
    folder = fixture.folder() }
  this.letters = options.dead_letter.topic
  send(helper.bootstrap(), this.topic, records)
  options.topics = options.topics or {}
  table.insert(options.topics, this.topic)
  options.handler, options.handler_args = "spec.handlers.poison", this.folder
  options.kafka = { ["group.id"] = this.group }
  options.retry = options.retry or RETRY
  options.commit_interval = 0.05
  options.on_event = function(event) table.insert(this.events, event) end
  options.log = function() end
  this.consumer = fixture.consumer(options)
  return this
end

local function committed(this)
  local place = fixture.committed(this.group, this.topic)[0]
  return place and place.offset or 0, place
end

local function wait_committed(limit, this, offset)
  helper.eventually(limit, function() return committed(this) >= offset end, this.consumer)
end

local function wait_lettered(this, n)
  helper.eventually(5, function()
    return count(this.events, "dead_lettered") >= n
  end, this.consumer)
  assert.equal(n, (count(this.events, "dead_lettered")))
end

local function stats(this) return this.consumer:stats() end

local TIME = "^%d+%.%d%d%d$"
local DAY = 86400

describe("a dead letter", function()
  local scenes, reader, book = {}, nil, nil

  local function topic(name, partitions)
    local full = helper.name("dlq-" .. name)
    assert(helper.mock():create_topic(full, partitions or 1))
    return full
  end

  setup(function()
    fixture.open()
    local exact, kinds, short, odd, none = topic "exact", topic "kinds", topic "short", topic "odd",
      topic "none"
    local loop, few, tight, cut = topic "loop", topic("few", 2), topic "tight", topic "cut"
    scenes.exact = scene({ dead_letter = { topic = exact } }, {
      poison("raise", "the first reason", { key = "k\0\255", value = "v\0\1\254", timestamp = 1.5,
        headers = { { "a", "1" }, { "a" }, { "", "nameless" }, { "" }, { "strand.reason", "older" }, { "b", "" },
          { "strand.offset", "77" }, { "strand.other", "kept" } } }),
      poison("ask", "wanted", { timestamp = 1700000000.123 }),
      poison("return", "returned", { key = "", value = "" }),
      { key = "good" },
    })
    scenes.kinds = scene({ dead_letter = { topic = kinds, reason = "class" } }, {
      poison("raise", "a secret"), poison("ask", "a secret", { key = "b" }) })
    scenes.given_up = scene({ dead_letter = { topic = kinds, reason = "class" },
      retry = function() return nil end }, { poison("raise", "a secret", { key = "c" }) })
    scenes.none = scene({ dead_letter = { topic = none, reason = "none" } },
      { poison("ask", "a secret") })
    scenes.short = scene({ dead_letter = { topic = short, max_reason = 5 } },
      { poison("ask", "äöüß") })
    scenes.odd = scene({ dead_letter = { topic = odd } },
      { poison("ask", "a\255b\237\160\128c\240\159\146\169d\195") })
    scenes.loop = scene({ dead_letter = { topic = loop }, topics = { loop } },
      { poison("raise", "again and again", { key = "x" }) })
    scenes.few = scene({ dead_letter = { topic = few, partition = "same" } }, {
      poison("ask", "p1", { partition = 1, key = "a" }),
      poison("ask", "p3", { partition = 3, key = "b" }),
      poison("ask", "p2", { partition = 2, key = "b" }) }, 4)
    scenes.tight = scene({ dead_letter = { topic = tight },
      producer = { kafka = { ["message.max.bytes"] = 2000 } } }, {
      poison("ask", "900 times r", { key = "fits without", value = ("v"):rep(900) }),
      poison("ask", "never", { key = "too large", value = ("v"):rep(2000) }),
      poison("ask", "fits", { key = "small" }) })
    scenes.cut = scene({ dead_letter = { topic = cut, allow_value_drop = true },
      producer = { kafka = { ["message.max.bytes"] = 2000 } } },
      { poison("ask", "why", { key = "k", value = ("v"):rep(2000) }) })
    local options
    options, book = letters.reader { exact, kinds, short, odd, none, loop, few, tight, cut }
    reader = fixture.consumer(options)
    local all = { reader }
    for _, this in pairs(scenes) do all[#all + 1] = this.consumer end
    fixture.start((table.unpack or unpack)(all))
  end)
  teardown(fixture.close)

  local function read(this, n)
    local all = { reader }
    for _, other in pairs(scenes) do all[#all + 1] = other.consumer end
    return book:wait(20, this.letters, n, (table.unpack or unpack)(all))
  end

  it("has the record's key, value, headers and time, and says where it comes from", function()
    local this = scenes.exact
    local by = {}
    for _, letter in ipairs(read(this, 3)) do by[letter.header["strand.offset"]] = letter end
    local first, asked, empty = by["0"], by["1"], by["2"]
    assert.same({ "k\0\255", "v\0\1\254", 1.5 }, { first.key, first.value, first.timestamp })
    assert.same({ { "a", "1" }, { "a" }, { "", "nameless" }, { "" }, { "b", "" },
      { "strand.other", "kept" }, { "do", "raise" }, { "why", "the first reason" },
      { "strand.topic", this.topic }, { "strand.partition", "0" },
      { "strand.offset", "0" }, { "strand.timestamp", "1.500" }, { "strand.group", this.group },
      { "strand.attempts", "3" }, { "strand.reason", first.header["strand.reason"] },
      { "strand.first_failure", first.header["strand.first_failure"] },
      { "strand.last_failure", first.header["strand.last_failure"] } }, first.headers)
    assert.matches("^the first reason", first.header["strand.reason"])
    local began, ended = first.header["strand.first_failure"], first.header["strand.last_failure"]
    assert.matches(TIME, began)
    assert.matches(TIME, ended)
    assert.is_true(tonumber(ended) - tonumber(began) >= 0.025)
    assert.is_true(math.abs(os.time() - tonumber(ended)) < DAY)
    assert.is_nil(asked.key)
    assert.is_nil(asked.value)
    assert.same({ "1", "wanted", "1700000000.123" }, { asked.header["strand.attempts"],
      asked.header["strand.reason"], asked.header["strand.timestamp"] })
    assert.same({ "", "", "3" }, { empty.key, empty.value, empty.header["strand.attempts"] })
  end)

  it("is an event and a count when it is acknowledged, and its record is done then", function()
    local this = scenes.exact
    read(this, 3)
    wait_committed(10, this, 4)
    wait_lettered(this, 3)
    local n, event = count(this.events, "dead_lettered", { offset = 0 })
    assert.same({ 1, 3, this.topic, 0, "k\0\255" },
      { n, event.attempt, event.topic, event.partition, event.key })
    assert.matches("^the first reason", event.reason)
    assert.equal(0, count(this.events, "parked"))
    helper.eventually(5, function() return stats(this).done == 1 end, this.consumer)
  end)

  it("tells the kind of failure only, or nothing, where that is wanted", function()
    local kinds = {}
    for _, letter in ipairs(read({ letters = scenes.kinds.letters }, 3)) do
      kinds[letter.key or "a"] = letter.header["strand.reason"]
      for _, header in ipairs(letter.headers) do
        assert.is_true(header[1] == "why" or not (header[2] or ""):find "secret")
      end
    end
    assert.same({ a = "failed", b = "asked", c = "exhausted" }, kinds)
    local letter = read(scenes.none, 1)[1]
    assert.is_nil(letter.header["strand.reason"])
    assert.equal("1", letter.header["strand.attempts"])
  end)

  it("has a reason that is UTF-8, and cut between characters", function()
    assert.equal("äö", read(scenes.short, 1)[1].header["strand.reason"])
    assert.equal("a\239\191\189b" .. ("\239\191\189"):rep(3) .. "c\240\159\146\169d",
      read(scenes.odd, 1)[1].header["strand.reason"])
  end)

  it("is not sent again for a record that came from there: that is parked", function()
    local this = scenes.loop
    read(this, 1)
    helper.eventually(20, function() return count(this.events, "parked") == 1 end, this.consumer)
    local _, event = count(this.events, "parked")
    assert.same({ this.letters, 0, 3 }, { event.topic, event.offset, event.attempt })
    assert.matches("it comes from the dead letter topic", event.reason)
    assert.matches("again and again", event.reason)
    assert.equal(1, #book:list(this.letters))
    wait_committed(10, this, 1)
    assert.equal(0, fixture.committed(this.group, this.letters)[0].offset)
  end)

  it("goes to the partition of the same number, or by key where there is none", function()
    local this, places = scenes.few, {}
    for _, letter in ipairs(read(this, 3)) do
      places[letter.header["strand.partition"]] = letter.partition
    end
    assert.equal(1, places["1"])
    assert.equal(places["2"], places["3"]) -- one key
    local told = { code = "UNKNOWN_PARTITION", topic = this.letters }
    helper.eventually(5, function() return count(this.events, "error", told) > 0 end, this.consumer)
    assert.equal(1, count(this.events, "error", told))
  end)

  it("that is too large goes without its reason, then without its value if that is allowed",
    function()
      local this = scenes.tight
      local by = {}
      for _, letter in ipairs(read(this, 2)) do by[letter.key] = letter end
      assert.equal("", by["fits without"].header["strand.reason"])
      assert.equal(("v"):rep(900), by["fits without"].value)
      assert.equal("fits", by.small.header["strand.reason"])
      local cut = read(scenes.cut, 1)[1]
      assert.same({ "k", "", "2000" },
        { cut.key, cut.header["strand.reason"], cut.header["strand.value_dropped"] })
      assert.is_nil(cut.value)
      helper.eventually(10, function() return count(this.events, "parked") == 1 end, this.consumer)
      local _, event = count(this.events, "parked")
      assert.same({ "too large", 1 }, { event.key, event.attempt })
      assert.matches("Message size too large.*never", event.reason)
      helper.eventually(10, function() return committed(this) == 1 end, this.consumer)
    end)
end)

-- ---- a broker of dead letters that fails ---------------------------------------

-- Each scene has a second cluster for its dead letters. All are joined at once.
describe("dead letters whose broker", function()
  local scenes = {}

  local function poisons(n)
    local records = {}
    for i = 1, n do records[i] = poison("ask", "no. " .. i, { key = "k" .. i }) end
    return records
  end

  local function opened(name, options, records, partitions)
    local other = assert(strand.mock { brokers = 1, topics = { dlq = 2 } })
    options.dead_letter = { topic = "dlq" }
    options.producer = { kafka = options.producer or {} }
    options.producer.kafka["bootstrap.servers"] = other.bootstrap_servers
    scenes[name] = scene(options, records, partitions)
    scenes[name].other, scenes[name].options = other, options
    local reader
    reader, scenes[name].book = letters.reader { "dlq" }
    reader.log = function() end
    reader.kafka = { ["bootstrap.servers"] = other.bootstrap_servers }
    scenes[name].reader = fixture.consumer(reader)
    return other
  end

  -- What the second cluster has, in the end.
  local function sent(this, n) return this.book:wait(20, "dlq", n, this.consumer, this.reader) end

  local function wait_blockers(this, n)
    helper.eventually(20, function() return #this.consumer:blockers(n) == n end, this.consumer)
  end

  setup(function()
    fixture.open()
    local records = poisons(20)
    table.insert(records, 1, { key = "first" })
    table.insert(records, { key = "last" })
    opened("down", {}, records)
    opened("full", { max_waiting_records = 20, max_buffered_records = 30 }, poisons(200))
    opened("refuses", { producer = { ["topic.metadata.refresh.interval.ms"] = 200 } },
      { poison("ask", "it was so", { key = "a" }), { key = "b" } })
    opened("fails", { ordering = "partition" }, poisons(5))
    opened("breaks", {}, poisons(5))
    opened("batch", { producer = { ["linger.ms"] = 100 } }, poisons(5))
    opened("away", {}, poisons(4))
    opened("late", {}, poisons(4))
    opened("shared", { revoke_grace = 0.3 }, poisons(8), 2)
    local all = {}
    for _, this in pairs(scenes) do all[#all + 1], all[#all + 2] = this.consumer, this.reader end
    for _, name in ipairs { "down", "full", "away", "late", "shared" } do
      scenes[name].other:down()
    end
    local refuses, fails = scenes.refuses.other, scenes.fails.other
    assert(refuses:fail("Produce", "TOPIC_AUTHORIZATION_FAILED", 2)) -- by itself, to be sure
    assert(fails:fail("Produce", "UNKNOWN_SERVER_ERROR", 2))
    assert(scenes.breaks.other:fail("Produce", "OUT_OF_ORDER_SEQUENCE_NUMBER", 1))
    assert(scenes.batch.other:fail("Produce", "MSG_SIZE_TOO_LARGE", 1))
    for _, consumer in ipairs(all) do assert(consumer:start()) end
  end)
  teardown(function()
    fixture.clear()
    for _, this in pairs(scenes) do this.other:close() end
    fixture.close()
  end)

  it("is down are waited for, with an event: nothing is committed before, all after", function()
    local this = scenes.down
    wait_blockers(this, 20)
    helper.eventually(20, function() return stats(this).done == 2 end, this.consumer)
    local unreachable = { topic = "dlq" }
    helper.eventually(25, function()
      return count(this.events, "unreachable", unreachable) > 0
    end, this.consumer)
    assert.equal(1, count(this.events, "unreachable"))
    assert.is_true(this.consumer:health())
    local offset, place = committed(this)
    assert.equal(1, offset)
    assert.same({ { 1, 20 } }, place.decoded.incomplete)
    assert.equal(0, count(this.events, "dead_lettered"))
    assert.equal("waiting", this.consumer:blockers(1)[1].state)
    helper.eventually(5, function() return stats(this).letters == 20 end, this.consumer)
    this.other:up()
    wait_committed(20, this, 22)
    wait_lettered(this, 20)
    helper.eventually(5, function() return stats(this).dead_lettered == 20 end, this.consumer)
    local reasons = {}
    for _, letter in ipairs(sent(this, 20)) do reasons[letter.header["strand.reason"]] = true end
    for i = 1, 20 do assert.is_true(reasons["no. " .. i]) end
  end)

  it("is down are bounded by the waiting budget, and close their partition's intake", function()
    local this = scenes.full
    helper.eventually(20, function()
      return count(this.events, "partition_blocked", { topic = this.topic }) > 0
    end, this.consumer)
    local _, event = count(this.events, "partition_blocked")
    assert.same({ "waiting", 0 }, { event.reason, event.offset })
    helper.eventually(5, function() return stats(this).letters >= 20 end, this.consumer)
    assert.is_true(stats(this).letters <= 50)
    this.other:up()
    wait_committed(30, this, 200)
  end)

  it("refuses them for ever are parked, say why, and are sent when somebody wants it", function()
    local this = scenes.refuses
    helper.eventually(20, function() return count(this.events, "parked") == 1 end, this.consumer)
    local _, event = count(this.events, "parked")
    assert.same({ 0, "a", 1 }, { event.offset, event.key, event.attempt })
    assert.matches("Topic authorization failed; it was so", event.reason)
    helper.eventually(10, function() return stats(this).done == 1 end, this.consumer)
    assert.equal(0, (committed(this)))
    assert.equal("parked", this.consumer:blockers(1)[1].state)
    helper.eventually(20, function() -- librdkafka believes the refusal for a while
      this.consumer:resolve({ topic = this.topic, partition = 0, offset = 0 }, "dead_letter")
      return committed(this) == 2
    end, this.consumer)
    _, event = count(this.events, "parked")
    assert.matches("^no dead letter could be sent: [^;]*; it was so$", event.reason)
    local letter = sent(this, 1)[1]
    assert.same({ "1", "it was so" },
      { letter.header["strand.attempts"], letter.header["strand.reason"] })
  end)

  it("fails in passing are sent again, with an event", function()
    local this = scenes.fails
    wait_committed(20, this, 5)
    wait_lettered(this, 5)
    assert.equal(1, count(this.events, "error", { topic = "dlq" }))
    assert.equal(0, count(this.events, "parked"))
  end)

  it("takes no more of a producer for good are sent by a new one", function()
    local this = scenes.breaks
    wait_committed(20, this, 5)
    wait_lettered(this, 5)
    assert.equal(0, count(this.events, "parked"))
    assert.is_true(#sent(this, 5) >= 5)
    local n, event = count(this.events, "error", { topic = "dlq" })
    assert.same({ 1, "OUT_OF_ORDER_SEQUENCE_NUMBER" }, { n, event and event.code })
  end)

  -- A batch that is refused as a whole says nothing of its records.
  it("refuses a batch as too large go one by one, and lose nothing", function()
    local this = scenes.batch
    wait_committed(20, this, 5)
    for _, letter in ipairs(sent(this, 5)) do
      assert.matches("^no%. %d$", letter.header["strand.reason"])
    end
  end)

  it("is down do not keep a consumer from closing in time; they are unfinished", function()
    local this, message, code, report = scenes.away, nil, nil, nil
    wait_blockers(this, 4)
    local seconds = helper.seconds(function()
      local _
      _, message, code, report = this.consumer:close { timeout = 2 }
    end)
    assert.same({ "4 records unfinished after 2 s", "TIMED_OUT" }, { message, code })
    assert.is_true(seconds > 0.9 and seconds < 3.5 + helper.late, ("close took %.2f s"):format(seconds))
    assert.equal(4, #report.unfinished)
    assert.equal(0, (committed(this)))
  end)

  it("comes back while the consumer closes are done, and committed", function()
    local this = scenes.late
    wait_blockers(this, 4)
    this.consumer:stop()
    this.other:up()
    local report = this.consumer:close { timeout = 15 }
    assert.same({}, report.unfinished)
    assert.equal(4, (committed(this)))
  end)

  it("is down are another member's after a rebalance; what comes back late changes nothing",
    function()
      local this, events = scenes.shared, {}
      wait_blockers(this, 8)
      local heir = fixture.consumer { topics = { this.topic }, handler = "spec.handlers.poison",
        handler_args = this.folder, kafka = { ["group.id"] = this.group }, retry = RETRY,
        commit_interval = 0.05, dead_letter = this.options.dead_letter,
        producer = this.options.producer, log = function() end,
        on_event = function(event) table.insert(events, event) end }
      assert(heir:start())
      helper.eventually(30, function() return #heir:assignment() == 1 end, this.consumer, heir)
      helper.eventually(20, function() return #heir:blockers(8) > 0 end, this.consumer, heir)
      for _, place in pairs(fixture.committed(this.group, this.topic)) do
        assert.equal(0, place.offset)
      end
      this.other:up()
      helper.eventually(20, function()
        local total = 0
        for _, place in pairs(fixture.committed(this.group, this.topic)) do
          total = total + place.offset
        end
        return total == 8
      end, this.consumer, heir)
      helper.eventually(5, function()
        return count(this.events, "dead_lettered") + count(events, "dead_lettered") == 8
      end, this.consumer, heir)
    end)
end)

describe("the producer of dead letters", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is refused with its option's name, when its properties are wrong", function()
    for name, value in pairs { ["compression.type"] = "none of them", acks = "0",
      ["message.max.bytes"] = "1" } do
      local ok, message = pcall(strand.consumer, { topics = { "t" },
        handler = "spec.handlers.poison",
        kafka = { ["bootstrap.servers"] = "127.0.0.1:1", ["group.id"] = "g" },
        dead_letter = { topic = "d" }, producer = { kafka = { [name] = value } } })
      assert.is_false(ok)
      assert.matches("option 'producer.kafka': property '" .. name .. "'", message, 1, true)
    end
  end)
end)
