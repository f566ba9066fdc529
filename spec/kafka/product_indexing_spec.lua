-- The story of examples/product_indexing on a real broker, with few events;
-- and that its audit sees what it is there to see.
local helper = require "spec.support.helper"

package.path = "examples/product_indexing/?.lua;" .. package.path
local audit = require "audit"
local processes = require "processes"

local EVENTS = 2000
local WAYS = { plain = 4, members = 20, partition = 20, unordered = 40, ["local"] = 40, key = 50 } -- at once
local STORY = { plain = 1, members = 20 / 6, partition = 20 / 3, unordered = 20 }

local function run(...)
  local ok = os.execute "make -s build/examples/plain"
  assert(ok == true or ok == 0, "plain.c does not compile")
  return helper.spawn([[
    arg[0] = "examples/product_indexing/compare.lua"
    dofile(arg[0])
  ]], ...)
end

local function figures(output)
  local found = {}
  for name, value in output:gmatch "figure indexing_(%S+) ([%d.]+)" do
    found[name] = tonumber(value)
  end
  return found
end

local WORK = 0.004 -- seconds of each handler: enough that a busy machine has all of them at once

describe("the product indexing story", function()
  local figure

  setup(function()
    local child = run("--events", EVENTS, "--work", tostring(WORK), "--figures")
    local status = child:wait(240)
    assert.equal(0, status, child:output() .. child:errors())
    figure = figures(child:output())
  end)
  teardown(helper.end_children)

  it("indexes each event once, in each of the six ways", function()
    assert.equal(EVENTS, figure.events)
    assert.equal(0, figure.missing)
    assert.equal(0, figure.repeated)
  end)

  it("keeps the order of partitions and products where that is promised", function()
    assert.equal(0, figure.out_of_order)
  end)

  it("has as many handlers at once as it says, and never more", function()
    for way, at_once in pairs(WAYS) do
      assert.is_true(figure[way .. "_at_once"] <= at_once, way)
      assert.is_true(figure[way .. "_at_once"] > at_once / 2, way)
    end
  end)

  it("takes no less time than its handlers wait", function()
    for way in pairs(WAYS) do
      assert.is_true(figure[way .. "_seconds"] >= figure[way .. "_least_seconds"], way)
      assert.is_true(figure[way .. "_least_seconds"] >= WORK * EVENTS / WAYS[way], way)
    end
  end)

  it("prints the story's ratios beside its own, and the scale of time", function()
    assert.equal(900, figure.time_scale) -- 3.6 s a record, in the story
    for way, ratio in pairs(STORY) do
      assert.near(ratio, figure[way .. "_story_ratio"], 0.01, way)
      assert.near(figure.plain_seconds / figure[way .. "_seconds"], figure[way .. "_ratio"], 0.1, way)
    end
    assert.is_nil(figure.key_story_ratio)
  end)
end)

describe("the audit of the indexing", function()
  local LINES = {
    "product-1 0 0 1.000000 1.100000", "product-2 0 1 1.100000 1.200000",
    "product-1 0 2 1.200000 1.300000", "product-3 1 0 1.050000 1.150000",
  }

  local function read(by, change)
    local lines = {}
    for i, line in ipairs(LINES) do lines[i] = line end
    change(lines)
    local path = helper.folder() .. "/journal"
    helper.write(path, table.concat(lines, "\n") .. "\n")
    return audit.read({ path }, { [0] = 3, [1] = 1 }, by)
  end

  it("finds nothing where all is well", function()
    local result = read("partition", function() end)
    assert.same({ handled = 4, missing = 0, repeated = 0, early = 0, last = 1.3, most = 2 }, result)
  end)

  it("sees an event that nobody handled", function()
    assert.equal(1, read("partition", function(lines) table.remove(lines, 2) end).missing)
  end)

  it("sees an event that was handled twice", function()
    local result = read("partition", function(lines)
      lines[5] = "product-3 1 0 1.600000 1.700000"
    end)
    assert.equal(1, result.repeated)
    assert.equal(0, result.missing)
  end)

  it("sees a product's event that began before the one before it had ended", function()
    local function change(lines) lines[3] = "product-1 0 2 1.090000 1.300000" end
    assert.equal(1, read("product", change).early)
  end)

  it("leaves products of one partition apart, unless the partition's order is promised", function()
    local function change(lines) lines[2] = "product-2 0 1 1.050000 1.150000" end
    assert.equal(0, read("product", change).early)
    assert.equal(1, read("partition", change).early)
  end)
end)

describe("the processes of the indexing", function()
  local function start(limit, ...)
    return processes.start(helper.folder(), limit, { { ... } })
  end

  it("answer line by line, and end when their input does", function()
    local list = start(10, "sh", "-c", "read x; echo got $x; cat > /dev/null; echo closed")
    list[1]:tell "where"
    assert.equal("where", list[1]:answer "^got (.*)$")
    assert.is_true(processes.stop(list))
  end)

  it("are not waited for when they end too early, or say something else", function()
    local list = start(10, "sh", "-c", "read x; echo what")
    list[1]:tell "where"
    assert.has_error(function() list[1]:answer "^has" end, "a process said: what")
    list[1]:tell "where"
    assert.has_error(function() list[1]:answer "^has" end, "a process has ended too early")
    assert.is_false(processes.stop(list))
  end)

  it("end when they hang", function()
    local list = start(1, "sleep", "1000")
    local seconds = helper.seconds(function()
      assert.has_error(function() list[1]:answer "^has" end, "a process has ended too early")
    end)
    assert.is_true(seconds < 9 + helper.late)
    assert.is_false(processes.stop(list))
  end)
end)
