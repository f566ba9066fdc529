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
    log:wait(30, 5, consumer)
    assert.same(audit.GOOD, log:result(sent))
    assert.is_true(asked >= 2)
  end)
end)
