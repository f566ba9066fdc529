-- A producer whose brokers go and come back, closed in the middle: each record
-- that was accepted is resolved once. Whole: scripts/torture producer.
local sends = require "spec.torture.sends"

describe("a producer whose brokers go and come back", function()
  it("resolves each record that it accepted, once, also when it is closed meanwhile", function()
    local accepted, unwritten = 0, 0
    for seed = 1, 3 do
      local book = sends.run(seed, 100000)
      assert.same({}, book.wrong)
      accepted = accepted + book.accepted
      unwritten = unwritten + book.failed + book.purged
    end
    assert.is_true(accepted >= 150000)
    assert.is_true(unwritten > 0) -- there was something in their way
  end)
end)
