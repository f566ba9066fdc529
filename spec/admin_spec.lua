-- The admin beside the mock cluster, which speaks few of its requests: what
-- cannot be done is said at once.
local helper = require "spec.support.helper"
local strand = require "strand"

describe("an admin", function()
  local admin

  setup(function()
    admin = assert(strand.admin { kafka = {
      ["bootstrap.servers"] = helper.mock().bootstrap_servers } })
  end)
  teardown(function()
    admin:close()
    helper.end_children()
    helper.close_cluster()
  end)

  local function refused(call)
    local seconds, ok, message, code = helper.seconds(call)
    assert.is_nil(ok)
    assert.matches("mock", message, 1, true)
    assert.equal("UNSUPPORTED_FEATURE", code)
    assert.is_true(seconds < 2 + helper.late)
  end

  it("says at once what the mock cluster cannot do", function()
    refused(function() return admin:create_topics { orders = 3 } end)
    refused(function() return admin:delete_topics { "orders" } end)
    refused(function() return admin:group_offsets "group" end)
  end)

  it("finds no offsets where nothing was committed", function()
    local topic = helper.topic(3)
    assert.same({}, assert(admin:group_offsets(helper.name "group", { topic })))
  end)

  it("says why no broker answers: the last cause that is known", function()
    local lost = assert(strand.admin { log = false,
      kafka = { ["bootstrap.servers"] = "127.0.0.1:1" } })
    for _, ask in ipairs {
      function() return lost:create_topics({ orders = 3 }, 1) end,
      function() return lost:delete_topics({ "orders" }, 1) end,
      function() return lost:group_offsets("group", nil, 1) end,
    } do
      local ok, message, code = ask()
      assert.is_nil(ok)
      assert.equal("TIMED_OUT", code)
      assert.matches("no broker answered in time: 127.0.0.1:1/bootstrap: Connect to .* failed: "
        .. "Connection refused", message)
    end
    lost:close()
  end)

  it("gives up at its timeout when no broker answers", function()
    local lost = assert(strand.admin { kafka = {
      ["bootstrap.servers"] = "127.0.0.1:1", ["log_level"] = 0 } })
    local seconds, ok, _, code = helper.seconds(function()
      return lost:create_topics({ orders = 3 }, 0.3)
    end)
    assert.is_nil(ok)
    assert.equal("TIMED_OUT", code)
    assert.is_true(seconds < 1.3 + helper.late)
    seconds, ok = helper.seconds(function() return lost:group_offsets("group", nil, 0.3) end)
    assert.is_nil(ok)
    assert.is_true(seconds < 1.3 + helper.late)
    seconds = helper.seconds(lost.close, lost)
    assert.is_true(seconds < 1.5 + helper.late)
  end)

  -- A request that timed out before its coordinator was connected ended the
  -- process, on the first of these as a rule.
  it("outlives its timeouts, whatever they cut off", function()
    local child = helper.spawn [[
      local strand = require "strand"
      local mock = assert(strand.mock { topics = { t = 1 } })
      local admin = assert(strand.admin {
        kafka = { ["bootstrap.servers"] = mock.bootstrap_servers, log_level = 0 } })
      assert(admin:group_offsets("g", { "t" })) -- from now on it knows the topic
      local late = 0
      for i = 0, 99 do
        local list, message, code = admin:group_offsets("g", { "t" }, i % 10 / 1000)
        assert(list or code == "TIMED_OUT", message)
        late = late + (list and 0 or 1)
      end
      assert(admin:close())
      print(late .. " late")
    ]]
    assert.equal(0, child:wait(60), child:errors())
    assert.is_true(tonumber(child:output():match "(%d+) late") >= 10, child:output())
  end)

  it("raises when it is closed, except for closing again", function()
    local other = assert(strand.admin { kafka = {
      ["bootstrap.servers"] = helper.mock().bootstrap_servers } })
    assert.is_true(other:close())
    assert.is_true(other:close())
    assert.has_error(function() other:delete_topics { "orders" } end,
      "attempt to use a closed admin")
  end)
end)
