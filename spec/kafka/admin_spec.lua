-- The admin and a real broker.
local helper = require "spec.support.helper"
local strand = require "strand"

describe("an admin of a real broker", function()
  local admin

  setup(function()
    admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.broker() } })
  end)
  teardown(function() admin:close() end)

  it("makes topics with their partitions, and deletes them", function()
    local one, two = helper.name "one", helper.name "two"
    assert.is_true(admin:create_topics { [one] = 3,
      [two] = { partitions = 2, replication = 1, config = { ["retention.ms"] = "60000" } } })
    local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.broker() } })
    assert(producer:send_wait { topic = one, partition = 2 })
    assert(producer:send_wait { topic = two, partition = 1 })
    local ok, _, code = producer:send_wait { topic = two, partition = 2 }
    assert.is_nil(ok)
    assert.equal("UNKNOWN_PARTITION", code)
    producer:close()
    assert.is_true(admin:delete_topics { one, two })
    helper.eventually(10, function()
      return select(3, admin:delete_topics { one }) == "UNKNOWN_TOPIC_OR_PART"
    end)
  end)

  it("says which topic could not be made, and why", function()
    local name = helper.topic(1)
    local ok, message, code = admin:create_topics { [name] = 1 }
    assert.is_nil(ok)
    assert.equal("TOPIC_ALREADY_EXISTS", code)
    assert.matches(name, message, 1, true)
    ok, message, code = admin:create_topics { [helper.name "bad"] = {
      partitions = 1, config = { ["no.such.setting"] = "1" } } }
    assert.is_nil(ok)
    assert.equal("INVALID_CONFIG", code)
    assert.matches("no.such.setting", message, 1, true)
  end)

  it("finds no offsets of a group that nobody was in", function()
    assert.same({}, assert(admin:group_offsets(helper.name "group")))
    assert.same({}, assert(admin:group_offsets(helper.name "group", { helper.topic(2) })))
  end)
end)
