-- close() ends within its timeout and a second, whatever the world does.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"

describe("close", function()
  local fifos = {}

  after_each(function()
    for i = #fifos, 1, -1 do -- lets go of whoever is blocked in it
      os.execute("timeout 2 sh -c ': > " .. fifos[i] .. "'")
      fifos[i] = nil
    end
    member.end_all()
  end)

  local function fifo()
    local path = helper.folder() .. "/fifo"
    assert(os.execute("mkfifo " .. path))
    fifos[#fifos + 1] = path
    return path
  end

  -- The next test needs it: a broker that comes back is let in again first.
  local function wake(how)
    helper.kafka(how)
    helper.eventually(30, function() return (pcall(helper.topic, 1)) end)
  end

  -- Closes, and fails when that takes longer than it may.
  local function close(consumer, options)
    local seconds, result = helper.seconds(function() return { consumer:close(options) } end)
    assert.is_true(seconds <= (options.timeout or 30) + 1 + helper.late, ("took %.2f s"):format(seconds))
    return result[1] or result[4], seconds, result
  end

  -- A consumer with a record in its handler, and one that is done.
  local function busy(options)
    local topic, log = helper.topic(2), audit.new()
    local sent = audit.send(topic, 2, function(i)
      return { partition = 0, key = "key" .. i, value = i == 1 and (options.value or "gate one") or "" }
    end)
    options.value = nil
    options.group, options.topics, options.audit = helper.name "group", { topic }, log
    local consumer, events = member.start(options)
    log:wait_start(15, sent[1].id, 1, consumer)
    log:wait(15, 1, consumer)
    return consumer, log, sent, options, events
  end

  it("waits for the handlers that run, and commits what they did", function()
    local consumer, log, sent, options = busy {}
    -- The gate opens when it is closing: seen by the log, which is served then.
    consumer:stop()
    assert(consumer:step(0))
    assert.is_nil(log:read().done[sent[1].id])
    log:open "one"
    local report, seconds = close(consumer, { timeout = 10 })
    assert.is_true(seconds < 3 + helper.late)
    assert.equal(2, report.done)
    assert.same({}, report.unfinished)
    assert.is_false(report.detached)
    assert.equal(2, member.committed(options.group, options.topics[1])[0].offset)
  end)

  it("right after an assignment takes no time, whatever is being asked for", function()
    local topic, log = helper.topic(4), audit.new()
    for round = 1, tonumber(os.getenv "ROUNDS") or 15 do
      local consumer, events = member.start { group = helper.name "group", topics = { topic },
        audit = log }
      helper.eventually(20, function() return member.events(events, "assigned") > 0 end, consumer)
      local seconds, result = helper.seconds(function() return { consumer:close { timeout = 2 } } end)
      assert.is_table(result[1], ("round %d: %s"):format(round, tostring(result[2])))
      assert.is_false(result[1].detached)
      assert.is_true(seconds < 1, ("round %d took %.2f s"):format(round, seconds))
    end
  end)

  it("with nothing to do takes no time, and the second call has the same report", function()
    local topic = helper.topic(1)
    local consumer = member.start { group = helper.name "group", topics = { topic },
      audit = audit.new() }
    member.wait_assigned(15, consumer, 1)
    local report, seconds = close(consumer, { timeout = 10 })
    assert.is_true(seconds < 2 + helper.late, ("took %.2f s"):format(seconds))
    assert.is_false(report.detached)
    assert.equal(report, (close(consumer, { timeout = 10 })))
  end)

  it("ends when a handler is stuck in C for ever", function()
    local consumer, _, sent, options = busy { value = "fifo " .. fifo() }
    local report = close(consumer, { timeout = 1.5 })
    assert.is_true(report.detached)
    assert.equal(1, report.done)
    assert.equal(1, #report.unfinished)
    assert.equal(sent[1].offset, report.unfinished[1].offset)
    local entry = member.committed(options.group, options.topics[1])[0]
    assert.is_false(member.covers(entry, 0))
    assert.is_true(member.covers(entry, 1))
  end)

  it("in mode now does not wait for a handler", function()
    local consumer, log, _, options = busy {}
    local report, seconds = close(consumer, { mode = "now", timeout = 20 })
    assert.is_true(seconds < 3 + helper.late, ("took %.2f s"):format(seconds))
    assert.equal(1, #report.unfinished)
    local entry = member.committed(options.group, options.topics[1])[0]
    assert.is_false(member.covers(entry, 0))
    assert.is_true(member.covers(entry, 1))
    log:open "one"
  end)

  it("ends while the broker is silent", function()
    local consumer, log = busy { commit_interval = 3600 }
    helper.kafka "pause"
    finally(function() wake "resume" end)
    log:open "one"
    log:wait(10, 2, consumer)
    local report = close(consumer, { timeout = 2 })
    assert.equal(2, report.done)
  end)

  it("ends while the broker is down", function()
    local consumer, log = busy { commit_interval = 3600 }
    helper.kafka "kill"
    finally(function() wake "restart" end)
    log:open "one"
    log:wait(10, 2, consumer)
    local report, _, result = close(consumer, { timeout = 2 })
    assert.equal(2, report.done)
    -- The last commit did not arrive, and that is said.
    assert.is_nil(result[1])
    assert.equal("TIMED_OUT", result[3])
  end)

  it("ends when no broker was ever reached", function()
    local consumer = member.start { group = "group", topics = { "topic" }, audit = audit.new(),
      kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } }
    consumer:step(0.2)
    local report, seconds = close(consumer, { timeout = 5 })
    assert.is_true(seconds < 3 + helper.late, ("took %.2f s"):format(seconds))
    assert.same({ 0, 0 }, { report.done, #report.unfinished })
  end)

  it("ends when the consumer was never started", function()
    local consumer = member.open { group = "group", topics = { "topic" }, audit = audit.new() }
    local report, seconds = close(consumer, { timeout = 5 })
    assert.is_true(seconds < 1 + helper.late)
    assert.equal(0, report.done)
  end)

  it("ends in the middle of a rebalance, for who holds it up and for who waits", function()
    local consumer, log, sent, options, events = busy { revoke_grace = 20 }
    options.revoke_grace = nil
    local other = member.start(options)
    helper.eventually(15, function() return member.events(events, "revoked") == 2 end,
      consumer, other)
    close(other, { timeout = 2 })
    local report = close(consumer, { timeout = 2 })
    assert.equal(1, report.done)
    assert.equal(sent[1].offset, report.unfinished[1].offset)
    log:open "one"
  end)

  it("by the garbage collector ends too, with a handler that is stuck", function()
    local topic, log = helper.topic(1), audit.new()
    local sent = audit.send(topic, 1, function() return { key = "key", value = "fifo " .. fifo() } end)
    local function forget()
      local consumer = assert(require "strand".consumer {
        kafka = { ["bootstrap.servers"] = helper.broker(), ["group.id"] = helper.name "group" },
        topics = { topic }, handler = "spec.support.recorder",
        handler_args = { log = log.path, gates = log.gates } })
      assert(consumer:start())
      log:wait_start(15, sent[1].id, 1, consumer)
    end
    forget()
    local seconds = helper.seconds(function()
      collectgarbage()
      collectgarbage()
    end)
    assert.is_true(seconds <= 6 + helper.late, ("took %.2f s"):format(seconds))
    assert.is_true(seconds > 0.01, "it was not collected")
  end)

  it("by the garbage collector leaves the group", function()
    local topic, log = helper.topic(1), audit.new()
    local options = { group = helper.name "group", topics = { topic }, audit = log,
      kafka = { ["session.timeout.ms"] = 30000 } }
    local function forget()
      local consumer = assert(require "strand".consumer {
        kafka = { ["bootstrap.servers"] = helper.broker(), ["group.id"] = options.group,
          ["session.timeout.ms"] = 30000 },
        topics = { topic }, handler = "spec.support.recorder",
        handler_args = { log = log.path, gates = log.gates } })
      assert(consumer:start())
      member.wait_assigned(15, consumer, 1)
    end
    forget()
    if rawget(_G, "jit") then _G.jit.flush() end -- traces keep what they saw
    collectgarbage()
    collectgarbage()
    member.wait_assigned(15, member.start(options), 1)
  end)

  it("leaves the group: another member has the partitions long before the session "
    .. "would end", function()
    local topic, group, log = helper.topic(4), helper.name "group", audit.new()
    local options = { group = group, topics = { topic }, audit = log,
      kafka = { ["session.timeout.ms"] = 30000 } }
    local one = member.start(options)
    member.wait_assigned(15, one, 4)
    local other = member.start(options)
    member.wait_assigned(15, other, 2, one)
    close(one, { timeout = 10 })
    local seconds = helper.seconds(member.wait_assigned, 15, other, 4)
    assert.is_true(seconds < 5 + helper.late, ("took %.2f s"):format(seconds))
  end)

  it("is hurried by a second signal", function()
    local topic, log = helper.topic(1), audit.new()
    local sent = audit.send(topic, 1, function() return { key = "key", value = "gate one" } end)
    local child = member.spawn { group = helper.name "group", topics = { topic }, audit = log }
    log:wait_start(20, sent[1].id, 1)
    child:signal "TERM"
    child:signal "INT"
    local seconds = helper.seconds(child.wait, child, 10)
    assert.is_true(seconds < 4 + helper.late, ("took %.2f s"):format(seconds))
    assert.equal(0, child:status())
  end)

  it("leaves no thread behind", function()
    local before = helper.threads()
    local topic, log = helper.topic(1), audit.new()
    local sent = audit.send(topic, 10, function(i) return { key = "key" .. i } end)
    local consumer = member.start { group = helper.name "group", topics = { topic }, audit = log,
      members = 2 }
    log:wait(20, #sent, consumer)
    assert.is_true(helper.threads() > before)
    close(consumer, { timeout = 10 })
    helper.eventually(5, function() return helper.threads() <= before end)
  end)
end)
