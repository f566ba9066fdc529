-- What the crash test concludes from the lines of handlers (spec/torture) when a
-- process was frozen, and handled on before it heard that it had lost its
-- partitions.
local helper = require "spec.support.helper"
local history = require "spec.torture.history"

describe("the history of a process that was frozen", function()
  local ONE, OTHER, WOKEN, BACK = 11, 22, 1000, 1000.5
  local path, all

  before_each(function()
    path = helper.folder() .. "/log"
    all = history.new(path)
  end)

  -- Records of one key, the first of which is at offset 0.
  local function write(what, pid, number, time)
    local file = assert(io.open(path, "ab"))
    file:write(("%-63s\n"):format(("%s %d 0 %d k5 %d 1 %.3f"):format(what, pid, number - 1,
      number, time)))
    file:close()
  end

  local function handle(pid, number, time)
    write("start", pid, number, time)
    write("end", pid, number, time + 0.001)
  end

  local function wrongs()
    return { inversions = all.inversions, overlaps = all.overlaps,
      repeated = all.repeated_covered, unfinished = all.unfinished }
  end

  local NONE = { inversions = 0, overlaps = 0, repeated = 0, unfinished = 0 }

  local function freeze()
    handle(ONE, 1, 990)
    all:gone(ONE)
    all:uncovered(ONE)
    handle(OTHER, 1, 995)
    handle(OTHER, 2, 995.1)
    all:hold()
  end

  it("has what it handled as soon as it had partitions again, and when is heard late", function()
    freeze()
    handle(ONE, 2, WOKEN + 0.1) -- in vain
    handle(ONE, 3, BACK)
    handle(ONE, 4, BACK + 0.01)
    handle(OTHER, 5, BACK + 0.2) -- after another rebalance
    all:read()
    all:back(ONE, BACK)
    assert.same(NONE, wrongs())
    assert.same({ 5, 1 }, { all.done, all.fenced })
    all:committed { { partition = 0, offset = 5 } }
    assert.same(NONE, wrongs())
  end)

  it("has no end of what had started in vain", function()
    freeze()
    write("start", ONE, 3, WOKEN + 0.1)
    write("end", ONE, 3, BACK + 0.1)
    all:back(ONE, BACK)
    assert.same({ 2, 1 }, { all.done, all.fenced })
    handle(ONE, 3, BACK + 0.2)
    all:read()
    assert.same(NONE, wrongs())
    assert.equal(3, all.done)
  end)

  it("still shows a record that was handled in vain alone", function()
    freeze()
    handle(ONE, 3, WOKEN + 0.1)
    handle(OTHER, 4, BACK + 0.1)
    all:back(ONE, BACK)
    assert.equal(1, all.inversions)
    assert.equal(3, all.done)
    all:committed { { partition = 0, offset = 4 } }
    assert.equal(1, all.unfinished)
  end)

  it("knows when it had partitions again by its own events", function()
    local function event(type, time) return ("event %s orders 0 nil nil %.3f\n"):format(type, time) end
    local before = event("assigned", 980) .. event("lost", 985) .. event("assigned", 986)
    local after = event("record_failed", 1000.1) .. event("lost", 1000.2) .. event("lost", 1000.2)
    assert.is_nil(history.assigned_again(before, WOKEN))
    assert.is_nil(history.assigned_again(before .. after, WOKEN))
    assert.equal(BACK, history.assigned_again(before .. after .. event("assigned", BACK)
      .. event("lost", 1003) .. event("assigned", 1004), WOKEN))
  end)
end)
