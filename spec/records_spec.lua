-- Records that are hostile arrive as they were sent: in the handler, and
-- parked, where they have an allocation of their own. Of 10 MB, which the mock
-- has no room for: spec/kafka/records_spec.lua. Keys that collide under a
-- hash without a seed: keys_collide in spec/c/engine_fixture.h.
local helper = require "spec.support.helper"
local fixture = require "spec.support.fixture"

local bytes = {}
for i = 0, 255 do bytes[i + 1] = string.char(i) end
local ALL = table.concat(bytes)

local thousand = {}
for i = 1, 1000 do thousand[i] = { "name" .. i, "value" .. i } end

local RECORDS = {
  { value = "no key" },
  { key = "", value = "" },
  { key = "tombstone" },
  { },
  { key = ALL, value = ALL:rep(40) },
  { key = "\0", value = "\0\0" },
  { key = "\0\0", value = "another key" },
  { key = "headers", value = "a thousand", headers = thousand },
  { key = "twice", value = "x", headers = { { "h", "1" }, { "h", "2" }, { "H", "3" }, { "h" } } },
  { key = "none", value = "x", headers = { { "absent" }, { "empty", "" }, { ALL:gsub("%z", ""), ALL } } },
  { key = ("k"):rep(1000000), value = "a key of 1 MB" },
  { key = ("k"):rep(999999) .. "l", value = "one that differs in its last byte" },
  { key = "large", value = ALL:rep(3500) },
}

describe("a hostile record", function()
  setup(fixture.open)
  teardown(fixture.close)

  for _, ordering in ipairs { "key", "partition", "unordered" } do
    it("is handled, parked and listed byte by byte, in order by " .. ordering, function()
      local topic = helper.topic(1)
      fixture.produce(topic, RECORDS, { ["message.max.bytes"] = 4000000 })
      local consumer = fixture.start(fixture.consumer { topics = { topic }, ordering = ordering,
        parked_holds = "record", handler = function(record, context)
          local sum = 0
          for _, text in ipairs { record.key or "nil", record.value or "nil" } do
            for i = 1, #text, 97 do sum = (sum * 31 + text:byte(i)) % 1000003 end
          end
          for _, pair in ipairs(record.headers) do sum = sum + #pair[1] + #(pair[2] or "nil!") end
          return context:park(("%d %s"):format(sum, record:header "h" or "nil"))
        end })
      local found = {}
      helper.eventually(30, function()
        return consumer:stats().parked == #RECORDS
      end, consumer)
      for record in consumer:parked() do found[record.offset + 1] = record end
      for i, sent in ipairs(RECORDS) do
        local got, sum = found[i], 0
        assert.equal(sent.key, got.key)
        assert.equal(sent.value, got.value)
        assert.same(sent.headers or {}, got.headers)
        for _, text in ipairs { sent.key or "nil", sent.value or "nil" } do
          for at = 1, #text, 97 do sum = (sum * 31 + text:byte(at)) % 1000003 end
        end
        for _, pair in ipairs(got.headers) do sum = sum + #pair[1] + #(pair[2] or "nil!") end
        assert.equal(("%d nil"):format(sum), got.reason)
      end
      assert.equal(#RECORDS, #found)
    end)
  end
end)
