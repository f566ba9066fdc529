-- scripts/specs: each file is run and told, whatever becomes of the others.
local helper = require "spec.support.helper"

describe("specs", function()
  -- -> what it printed, exit status
  local function specs(arguments)
    local text = helper.output(("env -u SAN STRAND_BUILT=1 scripts/specs %s 2>&1; echo \":$?\"")
      :format(arguments))
    local printed, status = text:match "^(.*):(%d+)%s*$"
    return printed, tonumber(status)
  end

  local function file(folder, name, body)
    local path = ("%s/%s_spec.lua"):format(folder, name)
    helper.write(path, ("describe('%s', function() %s end)"):format(name, body))
    return path
  end

  it("run each file in a process of its own, and print each log whole", function()
    local folder = helper.folder()
    local one = file(folder, "one", "it('sets', function() _G.set = true; os.execute 'sleep 0.1' end)")
    local two = file(folder, "two", "it('has not', function() assert.is_nil(_G.set) end)")
    local printed, status = specs(("lua5.4 %s %s"):format(one, two))
    assert.equal(0, status, printed)
    for _, path in ipairs { one, two } do
      assert.matches(("== %s\n%%+\n  %s: [%%d.]+ s\n\n1 success / 0 failures"):format(
        path:gsub("%p", "%%%0"), (path:gsub("%p", "%%%0"))), printed)
    end
  end)

  it("go on after one that fails, and one that ends too early is an error", function()
    local folder = helper.folder()
    local dies = file(folder, "dies", "it('dies', function() os.exit(3) end)")
    local fails = file(folder, "fails", "it('fails', function() error 'boo' end)")
    local good = file(folder, "good", "it('is good', function() end)")
    local printed, status = specs(("lua5.4 %s %s %s"):format(dies, fails, good))
    assert.not_equal(0, status)
    assert.matches(("Error -> %s @ 0\nit ended with status 3\n"):format(dies), printed, 1, true)
    assert.matches("fails_spec.lua:1: boo", printed, 1, true)
    local log = folder .. "/log"
    helper.write(log, printed)
    assert.equal("1 2\n", helper.output(("scripts/count busted %s %d"):format(log, status)))
  end)

  it("run each test of a file once in one of its parts", function()
    local three = file(helper.folder(), "three",
      "for _, name in ipairs { 'a', 'a b', 'a-b' } do it(name, function() print('ran ' .. name) end) end")
    local ran = {}
    for part = 1, 2 do
      local printed, status = specs(("--run lua5.4 %s:%d/2"):format(three, part))
      assert.equal(0, status, printed)
      for name in printed:gmatch "ran ([^\n]+)" do ran[#ran + 1] = part .. " " .. name end
    end
    assert.same({ "1 a", "1 a-b", "2 a b" }, ran)
  end)

  it("are parts of a file that is long", function()
    local items = specs "--items spec/outage_spec.lua spec/text_spec.lua"
    local parts = {}
    for k = 1, 6 do parts[k] = ("spec/outage_spec.lua:%d/6\n"):format(k) end
    assert.equal(table.concat(parts) .. "spec/text_spec.lua\n", items)
  end)

  it("begin with the longest", function()
    local times = helper.folder() .. "/times"
    helper.write(times, "spec/a_spec.lua 1\nspec/b_spec.lua 99\n")
    assert.equal("spec/b_spec.lua\nspec/batch_spec.lua\nspec/a_spec.lua\nspec/c_spec.lua\n",
      (specs("--order " .. times
        .. " spec/a_spec.lua spec/b_spec.lua spec/c_spec.lua spec/batch_spec.lua")))
  end)
end)
