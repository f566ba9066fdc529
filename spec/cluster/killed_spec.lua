-- One broker of three is killed while records are sent, of which two copies
-- have to be. Whole: scripts/torture producer.
local helper = require "spec.support.helper"
local killed = require "spec.torture.killed"

describe("a producer of whose brokers one at a time is killed", function()
  teardown(helper.end_children)

  it("loses nothing that was acknowledged, doubles nothing, and keeps each key in order", function()
    local result = killed.run(7, 2, 20000)
    assert.is_true(result.acknowledged >= 20000)
    for _, name in ipairs(killed.NOUGHTS) do assert.equal(0, result[name], name) end
  end)
end)
