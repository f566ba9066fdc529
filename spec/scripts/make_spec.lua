-- The Makefile and mk/*.mk: what works where nothing is installed yet, and
-- what an editor is told.
local cjson = require "cjson"
local helper = require "spec.support.helper"

-- -> what it wrote, errors, exit status
local function make(arguments)
  local folder = helper.folder()
  local status = helper.output(("env -u MAKEFLAGS -u SAN -u DEBUG make "
    .. "--no-print-directory %s > %s/out 2> %s/err; echo $?"):format(arguments, folder, folder))
  return helper.read(folder .. "/out"), helper.read(folder .. "/err"), tonumber(status)
end

describe("make without pkg-config", function()
  for _, arguments in ipairs { "help", "--dry-run clean", "--dry-run deps", "--dry-run test",
    "--dry-run check" } do
    it("has " .. arguments .. ", and no noise", function()
      local _, errors, status = make(arguments .. " PKG=/no/pkg-config")
      assert.equal("", errors)
      assert.equal(0, status)
    end)
  end
end)

describe("make", function()
  it("asks pkg-config once for each set of flags", function()
    local folder = helper.folder()
    helper.write(folder .. "/pkg-config", "#!/bin/sh\necho $* >> " .. folder
      .. "/asked\nexec pkg-config $*\n")
    assert(os.execute("chmod +x " .. folder .. "/pkg-config"))
    -- As for all objects: a dry run expands each recipe.
    local printed, _, status = make("--dry-run --always-make LUA=lua5.4 all PKG=" .. folder
      .. "/pkg-config")
    assert.equal(0, status)
    local _, compiled = printed:gsub(" %-c %-o ", "")
    assert.is_true(compiled > 50)
    assert.equal("--cflags rdkafka libzstd lua5.4\n--libs rdkafka libzstd\n",
      helper.read(folder .. "/asked"))
  end)

  it("compiles a file of a deeper folder, too", function()
    local folder = helper.folder()
    assert(os.execute(("cp -r Makefile mk %s && mkdir -p %s/src/core/deep/er %s/src/lua"):format(
      folder, folder, folder)))
    helper.write(folder .. "/src/core/one.c", "")
    helper.write(folder .. "/src/core/deep/er/two.c", "")
    helper.write(folder .. "/src/lua/three.c", "")
    local printed = make("--dry-run LUA=lua5.4 all -C " .. folder)
    for _, name in ipairs { "core/one", "core/deep/er/two", "lua/three" } do
      assert.matches(("-c -o build/lua5.4/%s.o src/%s.c"):format(name, name), printed, 1, true)
    end
  end)

  it("compiles again what includes a header that has changed, whatever is made of it", function()
    local folder = helper.folder()
    assert(os.execute(("cp -r Makefile mk %s && mkdir -p %s/src/core"):format(folder, folder)))
    helper.write(folder .. "/src/core/one.h", "extern int one;\n")
    helper.write(folder .. "/src/core/one.c", '#include "core/one.h"\nint one = 1;\n')
    for _, case in ipairs { { "LUA=lua5.4", "lua5.4" }, { "LUA=lua5.4 DEBUG=1", "lua5.4-debug" },
      { "", "test" }, { "SAN=address,undefined", "test-address-undefined" }, { "", "sim" } } do
      local object = ("build/%s/core/one.o"):format(case[2])
      local arguments = ("%s %s -C %s"):format(case[1], object, folder)
      local _, errors, status = make(arguments)
      assert.equal(0, status, errors)
      local quiet = make("--dry-run " .. arguments)
      assert.is_nil(quiet:find("-c -o " .. object, 1, true), quiet)
      local printed = make("--dry-run --what-if=src/core/one.h " .. arguments)
      assert.matches("-c -o " .. object, printed, 1, true)
    end
  end)

  it("shows each target that has a text, wherever it stands", function()
    local printed = make "help"
    local count = 0
    for name, text in helper.output "cat Makefile mk/*.mk":gmatch "\n([%l_-]+):[^\n]-## ([^\n]+)" do
      count = count + 1
      assert.matches(("\n  %-16s %s\n"):format(name, text), printed, 1, true)
    end
    assert.is_true(count > 29)
    assert.equal(count, select(2, printed:gsub("\n  %l", "")))
  end)

  it("tells an editor how each file is compiled", function()
    local path = helper.folder() .. "/commands.json"
    local _, errors, status = make("LUA=lua5.4 compile_commands COMMANDS=" .. path)
    assert.equal(0, status, errors)
    local files, commands = {}, {}
    for i, entry in ipairs(cjson.decode(helper.read(path))) do
      files[i], commands[entry.file] = entry.file, entry.command
    end
    assert.equal(helper.output "find src spec/c spec/sim -name '*.c' | LC_ALL=C sort",
      table.concat(files, "\n") .. "\n")

    -- The same words as make's own commands, but for the object.
    local targets = {
      ["src/core/retry.c"] = "build/lua5.4/core/retry.o",
      ["src/lua/worker/hook.c"] = "build/lua5.4/lua/worker/hook.o",
      ["spec/sim/throttle.c"] = "build/sim/spec/throttle.o",
    }
    for file, target in pairs(targets) do
      local printed = make("--dry-run --always-make LUA=lua5.4 " .. target)
      local command = printed:match "([^\n]* %-c %-o [^\n]*)"
      assert.equal(command:gsub(" %-o %S+", ""), (commands[file]))
    end
  end)
end)
