-- Tokens that the program gets from somewhere, for SASL OAUTHBEARER.
local audit = require "spec.support.audit"
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local token = require "spec.support.token"

describe("oauth_token", function()
  after_each(member.end_all)

  local function start(topic, log, oauth_token)
    return member.start { group = helper.name "group", topics = { topic }, audit = log,
      oauth_token = oauth_token, kafka = { ["bootstrap.servers"] = helper.broker_sasl(),
        ["security.protocol"] = "sasl_plaintext", ["sasl.mechanism"] = "OAUTHBEARER" } }
  end

  it("is asked for a token, with which records are consumed", function()
    local topic, log, asked = helper.topic(2), audit.new(), 0
    local sent = audit.send(topic, 20, function(i) return { key = "k" .. i % 5, value = "v" } end)
    local consumer = start(topic, log, function()
      asked = asked + 1
      return token(os.time() + 600), os.time() + 600, "strand"
    end)
    log:wait(20, 20, consumer)
    assert.same(audit.GOOD, log:result(sent))
    assert.is_true(asked >= 1)
  end)

  it("that has no token is asked again, and the consumer goes on trying", function()
    local topic, log, asked = helper.topic(1), audit.new(), 0
    local sent = audit.send(topic, 5, function() return { key = "k", value = "v" } end)
    local consumer = start(topic, log, function()
      asked = asked + 1
      if asked == 1 then error("the token service is away") end
      return token(os.time() + 600), os.time() + 600, "strand"
    end)
    helper.eventually(8, function()
      local _, reason, code = consumer:health()
      return code == "TOKEN" and reason:find("the token service is away", 1, true)
    end, consumer)
    log:wait(30, 5, consumer)
    assert.same(audit.GOOD, log:result(sent))
    assert.is_true(asked >= 2)
    assert.is_true(consumer:health())
  end)
end)

-- Who sends and who asks has tokens as who reads.
describe("oauth_token of a producer and an admin", function()
  local strand = require "strand"

  local function options(oauth_token)
    return { oauth_token = oauth_token, kafka = {
      ["bootstrap.servers"] = helper.broker_sasl(), ["security.protocol"] = "sasl_plaintext",
      ["sasl.mechanism"] = "OAUTHBEARER" } }
  end

  local function good()
    return token(os.time() + 600), os.time() + 600, "strand"
  end

  it("is asked for by strand.producer, and by the loop when it is due again", function()
    local topic, asked = helper.topic(3), 0
    local given = options(function()
      asked = asked + 1
      if asked > 1 then return good() end
      return token(os.time() + 600), os.time() + 2, "strand" -- due again soon
    end)
    given.topics, given.partitioner = { topic }, function() return 2 end
    local producer = assert(strand.producer(given))
    assert.equal(1, asked)
    assert(producer:send { topic = topic, key = "a" }) -- the partitions are known at once
    assert.equal(2, assert(producer:send_wait { topic = topic, key = "b" }).partition)
    helper.eventually(15, function()
      producer:poll(0.1)
      return asked > 1
    end)
    producer:close()
  end)

  it("that has none is asked again, and what was sent waits for it", function()
    local topic, asked = helper.topic(1), 0
    local producer = assert(strand.producer(options(function()
      asked = asked + 1
      if asked == 1 then return nil, "the token service is away" end
      return good()
    end)))
    assert(producer:send_wait { topic = topic, value = "v", timeout = 60 })
    assert.equal(2, asked)
    producer:close()
  end)

  it("makes topics, and reads a group's offsets", function()
    local topic, asked = helper.name "made", 0
    local admin = assert(strand.admin(options(function()
      asked = asked + 1
      return good()
    end)))
    assert(admin:create_topics { [topic] = 2 })
    local group = helper.name "group" -- a busy broker may not know the topic at once
    assert.same({}, helper.eventually(20, function() return (admin:group_offsets(group, { topic })) end))
    assert(admin:delete_topics { topic })
    assert.equal(1, asked)
    admin:close()
  end)

  it("that has none is an admin's answer, at once", function()
    local topic, asked = helper.name "made", 0
    local admin = assert(strand.admin(options(function()
      asked = asked + 1
      if asked == 1 then return nil, "the token service is away" end
      if asked == 2 then error "no such key" end
      return good()
    end)))
    local seconds, ok, message, code = helper.seconds(admin.create_topics, admin, { [topic] = 1 })
    assert.is_nil(ok)
    assert.equal("the token service is away", message)
    assert.equal("OAUTH", code)
    assert.is_true(seconds < 2 + helper.late)
    ok, message, code = admin:delete_topics { topic }
    assert.is_nil(ok)
    assert.matches("error in oauth_token.*no such key", message)
    assert.equal("OAUTH", code)
    assert(admin:create_topics { [topic] = 1 })
    admin:close()
  end)
end)
