-- scripts/check, in a tree of its own with spec files that need no module, and
-- a make that only notes how it was called.
local helper = require "spec.support.helper"

describe("check", function()
  local tree

  before_each(function()
    tree = helper.folder()
    assert(os.execute(("mkdir -p %s/spec %s/bin && ln -s \"$PWD/scripts\" %s/ && ln -s \"$PWD/spec/support\" %s/spec/")
      :format(tree, tree, tree, tree)))
    helper.write(tree .. "/bin/make", "#!/bin/sh\necho \"$*\" >> made\n")
    assert(os.execute("chmod +x " .. tree .. "/bin/make"))
  end)

  local function file(name, body)
    helper.write(("%s/spec/%s_spec.lua"):format(tree, name), body)
    return ("spec/%s_spec.lua"):format(name)
  end

  -- -> what it printed, exit status
  local function check(...)
    local text = helper.output(("cd %s && env -u SAN -u STRAND_BUILT PATH=\"$PWD/bin:$PATH\" "
      .. "scripts/check %s 2>&1; echo \":$?\""):format(tree, table.concat({ ... }, " ")))
    local printed, status = text:match "^(.*):(%d+)%s*$"
    return printed, tonumber(status)
  end

  it("makes the module once for all files", function()
    local printed, status = check(file("one", "it('is', function() end)"),
      file("two", "it('is', function() end) it('is too', function() end)"))
    assert.equal(0, status, printed)
    assert.matches("\n4 passed, 0 failed\n$", printed) -- the build is one of them
    assert.matches("^%-s %-j%d+ LUA=lua5.4 DEBUG=1 all\n%-s %-j%d+ LUA=lua5.4 all\n$",
      helper.read(tree .. "/made"))
  end)

  it("says which test failed, in the end, and goes on after it", function()
    local printed, status = check(file("bad", "it('is bad', function() error 'boo' end)"),
      file("good", "it('is', function() end)"))
    assert.equal(1, status, printed)
    assert.matches("failed in spec/bad_spec.lua %(its log is build/check/bad_spec.lua%):\n.*is bad", printed)
    assert.matches("\n2 passed, 1 failed\n$", printed)
  end)

  it("runs no test of a module that does not build", function()
    helper.write(tree .. "/bin/make", "#!/bin/sh\nexit 1\n")
    local printed, status = check(file("one", "it('is', function() print 'ran' end)"))
    assert.equal(1, status, printed)
    assert.matches("\n1 of 2 did not run\n", printed)
    assert.matches("\n0 passed, 1 failed\n$", printed)
  end)
end)
