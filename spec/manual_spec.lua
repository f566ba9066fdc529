-- What is written down in two places is the same in both.
local helper = require "spec.support.helper"

local function listed(command)
  local names = {}
  local pipe = assert(io.popen("LC_ALL=C " .. command))
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return names
end

describe("docs/architecture.md", function()
  it("names each function pointer that a header has, and no other hook", function()
    local chapter = helper.read "docs/architecture.md":match "\n## Hooks\n(.-)\n### "
    local declared = {}
    for _, path in ipairs(listed "find src -name '*.h'") do
      for name in helper.read(path):gmatch "%(%*([%w_]+)%) ?%(" do
        declared[name] = true
        assert.matches("`" .. name .. "`", chapter, 1, true)
      end
    end
    assert.is_true(declared.notice)
    local hooks = 0
    for cell in chapter:gmatch "\n| (`[^|]*) |" do
      for name in cell:gmatch "`([%w_]+)`" do
        assert.is_true(declared[name], name)
        hooks = hooks + 1
      end
    end
    assert.equal(10, hooks) -- a circle is not hidden behind one more
  end)
end)

describe("what was measured", function()
  -- -> the page as bench/report.lua writes it
  local function written(action, page, results)
    local copy = helper.folder() .. "/page.md"
    helper.write(copy, helper.read(page))
    local done = os.execute(("lua5.4 bench/report.lua %s %s %s"):format(action, results, copy))
    assert.is_true(done == true or done == 0)
    return helper.read(copy)
  end

  it("is in docs/benchmarks.md and README as in the results that are kept", function()
    for page, action in pairs { ["docs/benchmarks.md"] = "page", ["README.md"] = "readme" } do
      assert.equal(helper.read(page), written(action, page, "bench/results.tsv"))
    end
  end)

  it("is ratios within a round, and of those the median", function()
    local path, lines = helper.folder() .. "/results.tsv", { "fact\trounds\t3\n" }
    for name in ("date cpu cores kernel strand librdkafka lua java peer kafka load records"
    ):gmatch "%S+" do
      lines[#lines + 1] = ("fact\t%s\tsome\n"):format(name)
    end
    -- CPU a record: 2, 9 and 3 times the raw loop's; of medians it would be 4.
    for round, cpu in ipairs { { 2, 1 }, { 9, 1 }, { 12, 4 } } do
      for i, peer in ipairs { "strand", "raw" } do
        lines[#lines + 1] = ("base\t%d\t%s\trecords 100 seconds 1 cpu %d\n"):format(round, peer,
          cpu[i])
      end
    end
    helper.write(path, table.concat(lines))
    assert.matches("| `cpu_ratio_empty` | 3.00 | at most 1.3 |", written("page", "docs/benchmarks.md", path), 1,
      true)
  end)
end)
