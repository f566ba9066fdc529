-- Records of 10 MB, which are larger than all that is reckoned with: chunks,
-- fetches, and here the budgets too. Others: spec/records_spec.lua.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

local SIZE = 10 * 1024 * 1024

describe("a record of 10 MB", function()
  setup(fixture.open)
  teardown(fixture.close)

  it("is handled, fails, is parked and listed, one at a time where the budget is less", function()
    local topic = helper.topic(1, { ["max.message.bytes"] = tostring(SIZE + 100000) })
    local group = helper.name "group"
    local records = {}
    for i = 1, 4 do
      records[2 * i - 1] = { key = "large" .. i, value = ("%010d"):format(i):rep(SIZE / 10) }
      records[2 * i] = { key = "small" .. i, value = "v" }
    end
    fixture.produce(topic, records, { ["message.max.bytes"] = SIZE + 200000 })
    local consumer = fixture.start(fixture.consumer { topics = { topic }, workers = 2,
      kafka = { ["group.id"] = group }, max_buffered_bytes = 1024 * 1024,
      retry = { attempts = 2, delay = 0.01 }, handler = function(record)
        if #record.value > 1 then error(("%d %s"):format(#record.value, record.value:sub(-10)), 0) end
      end })
    helper.eventually(60, function()
      local stats = consumer:stats()
      return stats.parked == 4 and stats.done == 4
    end, consumer)
    local seen = 0
    for record in consumer:parked() do
      seen = seen + 1
      local sent = records[record.offset + 1]
      assert.equal(sent.key, record.key)
      assert.is_true(sent.value == record.value)
      assert.matches(("%d %s"):format(#sent.value, sent.value:sub(-10)), record.reason, 1, true)
      assert(consumer:resolve(record, "discard"))
    end
    assert.equal(4, seen)
    helper.eventually(20, function() return consumer:stats().skipped == 4 end, consumer)
    assert(consumer:commit())
    assert.equal(8, fixture.committed(group, topic)[0].offset)
  end)
end)
