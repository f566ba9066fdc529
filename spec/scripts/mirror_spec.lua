-- scripts/mirror: a tree whose objects stay is brought up to date.
local helper = require "spec.support.helper"
local lfs = require "lfs"

describe("a copy with objects of its own", function()
  local from, to

  before_each(function()
    from, to = helper.folder(), helper.folder()
    assert(os.execute(("mkdir -p %s/src/deep %s/more"):format(from, from)))
    for name, text in pairs { ["src/a.c"] = "a", ["src/deep/b.c"] = "b", Makefile = "m" } do
      helper.write(from .. "/" .. name, text)
    end
    helper.write(from .. "/src/run", "#!/bin/sh\n")
    assert(os.execute("chmod +x " .. from .. "/src/run"))
    assert(os.execute(("scripts/mirror %s %s src Makefile"):format(from, to)))
  end)

  local function mirror() assert(os.execute(("scripts/mirror %s %s src Makefile"):format(from, to))) end
  local function time(name) return lfs.attributes(to .. "/" .. name, "modification") end

  -- copied; edited; objects are built of the copy, and are younger than the edit
  it("is rebuilt from a source that was edited before its objects were built", function()
    helper.write(from .. "/src/a.c", "A")
    lfs.touch(from .. "/src/a.c", os.time() - 500)
    for _, name in ipairs { "src/a.c", "src/deep/b.c" } do
      lfs.touch(to .. "/" .. name, os.time() - 1000)
    end
    helper.write(to .. "/a.o", "") -- of the old one
    lfs.touch(to .. "/a.o", os.time() - 100)
    mirror()
    assert.equal("A", helper.read(to .. "/src/a.c"))
    assert.is_true(time "src/a.c" > time "a.o")
    assert.is_true(time "src/deep/b.c" < time "a.o") -- is not built again
    mirror()
    assert.is_true(time "src/a.c" > time "a.o") -- nor forgotten before it was
  end)

  it("has what is there, and no more", function()
    os.remove(from .. "/src/a.c")
    os.remove(from .. "/Makefile")
    assert(os.execute(("rm -r %s/src/deep && mkdir -p %s/src/new/er"):format(from, from)))
    helper.write(from .. "/src/new/er/c.c", "c")
    helper.write(from .. "/src/deep", "a file now")
    assert(os.execute(("ln -s run %s/src/link"):format(from)))
    helper.write(to .. "/other", "stays")
    mirror()
    mirror()
    local same = os.execute(("diff -r --no-dereference %s/src %s/src"):format(from, to))
    assert.is_true(same == true or same == 0)
    assert.is_nil(time "Makefile")
    assert.equal("stays", helper.read(to .. "/other"))
    assert.equal("rwxr-xr-x", lfs.attributes(to .. "/src/run", "permissions"))
  end)
end)
