-- What the world does wrong, on the mock cluster. It creates topics by itself
-- (librdkafka 2.0.2), and knows no credentials: missing topics and refused
-- credentials are in spec/kafka/trouble_spec.lua.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"
local strand = require "strand"

local NOWHERE = { ["bootstrap.servers"] = "127.0.0.1:1" } -- where nobody listens

describe("brokers that do not answer", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("end a start that has a timeout, and the object", function()
    local lines = {}
    local consumer = fixture.consumer { topics = { "orders" }, kafka = NOWHERE, start_timeout = 0.5,
      log = function(_, facility, message) lines[#lines + 1] = facility .. message end }
    local seconds, ok, message, code = helper.seconds(consumer.start, consumer)
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.matches("not a member of the group within 0.5 s (start_timeout)", message, 1, true)
    assert.is_true(seconds >= 0.5 and seconds < 2.5 + helper.late, ("start took %.2f s"):format(seconds))
    assert.same({ nil, "the consumer is closed", "CLOSED" }, { consumer:step(0) })
    assert.is_true(#lines > 0)
    local report
    ok, message, code, report = consumer:close()
    assert.same({ nil, "TIMED_OUT" }, { ok, code })
    assert.is_string(message)
    assert.equal(0, report.done)
  end)

  it("end run() in the same way", function()
    local consumer = fixture.consumer { topics = { "orders" }, kafka = NOWHERE, start_timeout = 0.2,
      log = function() end }
    local ok, message, code, report = consumer:run()
    assert.same({ nil, "TIMED_OUT" }, { ok, code })
    assert.is_string(message)
    assert.equal(0, report.done)
  end)

  -- Two consumers at once: ten seconds is long enough. One never had a
  -- broker, the other one loses it.
  it("are an event after ten seconds and one line to the log; then it goes on", function()
    local mock = assert(strand.mock { brokers = 1, topics = { orders = 1 } })
    finally(function() mock:close() end)
    local kafka = { ["bootstrap.servers"] = mock.bootstrap_servers,
      ["reconnect.backoff.max.ms"] = 500 }
    local seen = { {}, {} }
    local function open(i, properties, folder)
      return fixture.consumer { topics = { "orders" }, kafka = properties, handler_args = folder,
        on_event = function(event)
          if event.type == "unreachable" then seen[i][#seen[i] + 1] = event end
          assert.is_not.equal("join_failed", event.type) -- there is no broker to ask
        end,
        log = function(_, facility, message)
          if facility == "strand" and message:find "unreachable" then
            seen[i].lines = (seen[i].lines or 0) + 1
          end
        end }
    end
    local folder = fixture.folder()
    local never, lost = open(1, NOWHERE), open(2, kafka, folder)
    assert(never:start())
    local started = fixture.now()
    fixture.start(lost)
    mock:down()
    local down = fixture.now()
    assert.same({ nil, "NOT_ASSIGNED" }, { (function(ok, _, code) return ok, code end)(never:health()) })
    helper.eventually(20, function() return #seen[1] > 0 end, never, lost)
    assert.is_true(fixture.now() - started > 9 and fixture.now() - started < 16)
    helper.eventually(20, function() return #seen[2] > 0 end, never, lost)
    assert.is_true(fixture.now() - down > 9 and fixture.now() - down < 18)
    for i, consumer in ipairs { never, lost } do
      helper.eventually(5, function() return seen[i].lines end, consumer)
      assert.same({ 1, 1 }, { #seen[i], seen[i].lines })
      assert.is_string(seen[i][1].reason)
      assert.is_string(seen[i][1].code)
      local ok, reason, code = consumer:health()
      assert.is_nil(ok)
      assert.is_string(reason)
      assert.equal("UNREACHABLE", code)
    end
    mock:up()
    helper.eventually(20, function() return lost:health() end, lost)
    local producer = assert(strand.producer { kafka = kafka })
    assert(producer:send_wait { topic = "orders", key = "a" })
    producer:close()
    helper.eventually(20, function() return fixture.count(folder, "leave") == 1 end, lost)
    fixture.clear() -- before its cluster goes
  end)
end)

describe("a coordinator that moves, and leaders that do", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("cost no record, and no order", function()
    local mock = assert(strand.mock { brokers = 3, topics = { orders = 2 } })
    finally(function() mock:close() end)
    local kafka = { ["bootstrap.servers"] = mock.bootstrap_servers,
      ["group.id"] = helper.name "group", ["topic.metadata.refresh.interval.ms"] = 500 }
    local folder = fixture.folder()
    assert(mock:coordinator(kafka["group.id"], 1))
    local consumer = fixture.start(fixture.consumer { topics = { "orders" }, kafka = kafka,
      handler_args = folder, commit_interval = 0.1, log = function() end })
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = mock.bootstrap_servers },
      log = function() end })
    local sent = 0
    local function send(count)
      for i = 1, count do
        assert(producer:send { topic = "orders", key = "k" .. i % 5, partition = i % 2 })
      end
      sent = sent + count
      assert(producer:flush(20))
      helper.eventually(20, function() return fixture.count(folder, "leave") >= sent end, consumer)
    end
    send(50)
    mock:coordinator(kafka["group.id"], 2)
    send(50)
    for partition = 0, 1 do mock:leader("orders", partition, 3) end
    send(50)
    producer:close()
    helper.eventually(10, function()
      local total = 0
      for _, place in ipairs(consumer:report().committed) do total = total + place.offset end
      return total == sent
    end, consumer)
    local last, count = {}, 0
    for _, line in ipairs(fixture.journal(folder)) do
      local shard = line.partition .. line.key
      if line.what == "enter" then
        assert.is_true(line.offset > (last[shard] or -1))
        last[shard], count = line.offset, count + 1
      end
    end
    assert.equal(sent, count)
    fixture.clear()
  end)
end)

-- What start_timeout and health() say is what stands in the log.
describe("a connection that cannot be made has its cause told", function()
  setup(fixture.open)
  teardown(fixture.close)

  local function start(kafka)
    local consumer = fixture.consumer { topics = { "orders" }, kafka = kafka, start_timeout = 2,
      log = false }
    local ok, message, code = consumer:start()
    assert.same({ nil, "TIMED_OUT" }, { ok, code })
    return message
  end

  it("by a start that gives up", function()
    assert.matches("not a member of the group yet: .*Connection refused", start(NOWHERE))
    assert.matches("not a member of the group yet: .*Failed to resolve 'no%-such%-host.invalid:1'",
      start { ["bootstrap.servers"] = "no-such-host.invalid:1" })
    local message = start { ["security.protocol"] = "ssl" }
    assert.matches("(is it a port for TLS?)", message, 1, true)
    assert.is_nil(message:find("credentials", 1, true))
  end)

  it("by health()", function()
    local consumer = fixture.consumer { topics = { "orders" }, log = false, kafka = NOWHERE }
    assert(consumer:start())
    helper.eventually(10, function()
      local _, reason, code = consumer:health()
      return code == "NOT_ASSIGNED" and reason:find("Connection refused", 1, true)
    end, consumer)
    consumer:close { timeout = 1 }
  end)

  -- librdkafka 2.0.2 ends the process where a client with interceptors fails late.
  it("where it needs no broker, by an error that names the property", function()
    local rubbish = helper.folder() .. "/rubbish.pem"
    helper.write(rubbish, "no certificate")
    local function raises(expected, name, value, protocol)
      local ok, problem = pcall(fixture.consumer, { topics = { "orders" }, log = false,
        kafka = { ["security.protocol"] = protocol or "ssl", [name] = value } })
      assert.is_false(ok)
      assert.matches(expected, problem, 1, true)
    end
    for _ = 1, 5 do -- what was freed twice shows late
      raises("property 'ssl.ca.location': '/no/such.pem': No such file", "ssl.ca.location",
        "/no/such.pem")
      raises("property 'ssl.key.location': '/no/such.pem': No such file", "ssl.key.location",
        "/no/such.pem")
      raises("ssl.ca.location", "ssl.ca.location", rubbish)
      raises("ssl.certificate.location", "ssl.certificate.location", rubbish)
      raises("kinit", "sasl.mechanism", "GSSAPI", "sasl_plaintext")
      raises("'sasl.mechanism' is required with 'security.protocol' sasl_ssl", "client.id", "c",
        "sasl_ssl")
    end
  end)

  it("about a file that cannot be read, by its name, whoever is opened", function()
    local opens = { consumer = { topics = { "orders" }, handler = function() end }, producer = {},
      admin = {} }
    for _, name in ipairs { "ssl.ca.location", "ssl.key.location", "ssl.keystore.location",
      "ssl.certificate.location" } do
      for what, options in pairs(opens) do
        options.kafka = { ["bootstrap.servers"] = "127.0.0.1:1", ["security.protocol"] = "ssl",
          ["group.id"] = what == "consumer" and "g" or nil, [name] = "/no/such.p12" }
        local ok, problem = pcall(strand[what], options)
        assert.is_false(ok)
        assert.matches(("option 'kafka': property '%s': '/no/such.p12': No such file")
          :format(name), problem, 1, true)
      end
    end
  end)

  it("about a key that stands where its file belongs, and does not show it", function()
    for _, key in ipairs { "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END",
      "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END", "hunter2/" .. ("k"):rep(300),
      "hunter2/" .. ("/k"):rep(3000) } do
      local ok, problem = pcall(strand.producer, { kafka = { ["bootstrap.servers"] = "127.0.0.1:1",
        ["security.protocol"] = "ssl", ["ssl.key.location"] = key } })
      assert.is_false(ok)
      assert.matches("property 'ssl.key.location': '(not shown: no name of a file)'", problem, 1, true)
      assert.is_nil(problem:find("hunter2", 1, true))
    end
  end)
end)

describe("committed offsets that are not stable", function()
  setup(fixture.open)
  teardown(fixture.close)

  -- librdkafka asks for them too. What it is answered when the assignment has
  -- changed meanwhile has it begin where auto.offset.reset says.
  it("are told and waited for, and nothing before them comes again", function()
    local mock = assert(strand.mock { brokers = 1, topics = { orders = 2 } })
    finally(function() mock:close() end)
    local events, folder = {}, fixture.folder()
    local function produce()
      local list = {}
      for i = 1, 10 do list[i] = { key = "k" .. i, partition = i % 2 } end
      fixture.produce("orders", list, { ["bootstrap.servers"] = mock.bootstrap_servers })
    end
    local function handle(count)
      local consumer = fixture.start(fixture.consumer { topics = { "orders" }, handler_args = folder,
        kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, ["group.id"] = "g" },
        on_event = function(event) events[#events + 1] = event end })
      helper.eventually(60, function() return fixture.count(folder, "leave") >= count end, consumer)
      assert(consumer:close())
    end
    produce()
    handle(10)
    produce()
    assert(mock:fail("OffsetFetch", "UNSTABLE_OFFSET_COMMIT", 60))
    handle(20)
    assert.equal(20, fixture.count(folder, "enter"))
    local told = {}
    for _, event in ipairs(events) do
      assert.is_not.equal("reset", event.type)
      if event.type == "restoring" then told[#told + 1] = event.code end
    end
    assert.same({ "UNSTABLE_OFFSET_COMMIT", "UNSTABLE_OFFSET_COMMIT" }, told)
  end)
end)
