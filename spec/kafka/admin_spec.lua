-- The admin on a real broker: an answer for each topic.
local helper = require "spec.support.helper"
local strand = require "strand"

describe("an admin's topics", function()
  local admin

  setup(function()
    admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
  end)
  teardown(function() admin:close() end)

  it("each have an answer when some cannot be made", function()
    local there, new = helper.topic(1), helper.name "new"
    local wrong, many = helper.name "wrong", helper.name "many"
    local ok, message, code, answers = admin:create_topics { [new] = 2, [there] = 1,
      [wrong] = { partitions = 1, config = { ["no.such.setting"] = "1" } },
      [many] = { partitions = 1, replication = 99 } }
    assert.is_nil(ok)
    assert.matches("and 2 more of 4", message, 1, true)
    assert.is_string(code)
    assert.is_true(answers[new])
    assert.equal("TOPIC_ALREADY_EXISTS", answers[there].code)
    assert.equal("INVALID_CONFIG", answers[wrong].code)
    assert.equal("INVALID_REPLICATION_FACTOR", answers[many].code)
    for _, name in ipairs { there, wrong, many } do
      assert.is_true(#answers[name].message > 5)
    end
    -- and what has an answer of true is there
    ok, message, code, answers = admin:delete_topics { new, wrong }
    assert.is_nil(ok)
    assert.equal("UNKNOWN_TOPIC_OR_PART", code)
    assert.matches("topic '" .. wrong .. "'", message, 1, true)
    assert.is_true(answers[new])
    assert.is_true(admin:delete_topics { there })
  end)
end)
