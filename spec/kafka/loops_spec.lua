-- What waits for real brokers yields in an event loop, too: transactions, topics, commits.
local helper = require "spec.support.helper"
local loops = require "spec.support.loops"
local fixture = require "spec.support.fixture"
local strand = require "strand"

local LIMIT = 60
local STALL = 1.5 -- seconds: no turn of a loop takes so long, but a call that waits in it would

for name, loop in loops.each() do
  describe("on a real broker, in the loop of " .. name, function()
    setup(fixture.open)
    teardown(function()
      loop.forget()
      fixture.close()
    end)

    -- f in the loop, which must not stand still meanwhile.
    local function run_moving(f)
      local longest = 0
      loop.run(function()
        local over, last = false, fixture.now()
        loop.spawn(function()
          while not over do
            loop.sleep(0.001)
            longest, last = math.max(longest, fixture.now() - last), fixture.now()
          end
        end)
        f()
        loop.sleep(0.05) -- so that a wait that nobody could see is seen now
        over = true
      end)
      assert.is_true(longest < STALL, ("the loop stood still for %.2f s"):format(longest))
    end

    it("a transaction that was fenced is aborted, and the next one has another client", function()
      run_moving(function()
        local topic, renewed = helper.topic(1), 0
        local producer = assert(strand.producer { log = function() end,
          kafka = { ["bootstrap.servers"] = helper.broker() },
          transactional_id = helper.name "id", transaction_timeout = 2,
          on_event = function(event) renewed = renewed + (event.type == "renewed" and 1 or 0) end })
        assert(loop.start(producer))
        assert(producer:begin(LIMIT))
        assert(producer:send { topic = topic, value = "v" })
        assert(producer:flush(LIMIT))
        local deadline, code = fixture.now() + LIMIT
        repeat -- the brokers abort it at a time of theirs
          loop.sleep(3)
          assert(fixture.now() < deadline, "the brokers do not abort it")
          code = select(3, producer:commit(LIMIT))
          if code == nil then assert(producer:begin(LIMIT)) end
        until code
        assert.are.equal("FENCED", code)
        assert(producer:abort(LIMIT))
        assert(producer:begin(LIMIT))
        assert(producer:send { topic = topic, value = "v" })
        assert(producer:commit(LIMIT))
        assert.are.equal(1, renewed)
        producer:close()
      end)
    end)

    it("transactions, topics and commits wait while others go on", function()
      local folder = fixture.folder()
      run_moving(function()
        local kafka = { ["bootstrap.servers"] = helper.broker() }
        local admin = assert(strand.admin { kafka = kafka })
        assert(loop.start(admin))
        local topic = helper.name "topic"
        assert(admin:create_topics({ [topic] = 2 }, LIMIT))

        local producer = assert(strand.producer { kafka = kafka,
          transactional_id = helper.name "id" })
        assert(loop.start(producer))
        assert(producer:begin(LIMIT))
        for i = 1, 10 do assert(producer:send { topic = topic, key = "k" .. i, value = "v" }) end
        assert(producer:commit(LIMIT))
        assert(producer:begin(LIMIT))
        assert(producer:send { topic = topic, key = "gone", value = "v" })
        assert(producer:abort(LIMIT))

        local consumer = fixture.consumer { topics = { topic }, handler_args = folder,
          kafka = { ["isolation.level"] = "read_committed" } }
        assert(loop.start(consumer))
        local deadline = fixture.now() + LIMIT
        while fixture.count(folder, "leave") < 10 do
          loop.sleep(0.02)
          assert(fixture.now() < deadline, "the records do not come")
        end
        assert(consumer:commit(LIMIT))
        assert.are.equal(10, consumer:close { timeout = 20 }.done)
        assert.is_nil(producer:close { timeout = 20 }.transaction)
        assert(admin:delete_topics({ topic }, LIMIT))
        admin:close()
      end)
    end)
  end)
end
