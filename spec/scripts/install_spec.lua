-- 'make uninstall' once ran "rm -rf /x/my" for PREFIX="/x/my app", and a
-- relative DESTDIR put the Lua files into the checkout.
local helper = require "spec.support.helper"

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What the command printed, and whether it ended with 0.
local function make(target, prefix, destdir)
  local command = ("make -s LUA=lua5.4 %s PREFIX=%s DESTDIR=%s 2>&1; echo \":$?\"")
    :format(target, quote(prefix), quote(destdir))
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  local printed, status = text:match "^(.*):(%d+)%s*$"
  return status == "0", printed
end

local function files(folder)
  local list = {}
  local pipe = assert(io.popen("find " .. quote(folder) .. " -type f | LC_ALL=C sort"))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function exists(folder)
  local done = os.execute("test -e " .. quote(folder))
  return done == true or done == 0
end

describe("make install and uninstall", function()
  for _, prefix in ipairs { "/x/my app", "/it's", "/a$$b \"c\"", "/semi;colon&" } do
    it("keep to their own files below " .. prefix, function()
      local root = helper.folder()
      local place = prefix:gsub("%$%$", "$")
      assert.is_true((make("install", prefix, root)))
      local installed = files(root)
      assert.is_true(#installed > 5)
      for _, path in ipairs(installed) do
        local at = path:find(place .. "/", 1, true)
        assert.equal(#root + 1, at, path)
      end
      local nested = root .. place .. "/share/lua/5.4/strand/options"
      assert.equal(#files "lua/strand/options", #files(nested))

      -- beside it, and in it: somebody else's
      local other = root .. "/x/my"
      assert(os.execute("mkdir -p " .. quote(root .. "/x")))
      helper.write(other, "mine")
      local inside = root .. place .. "/share/lua/5.4/strand/mine.lua"
      helper.write(inside, "mine")
      assert.is_true((make("uninstall", prefix, root)))
      local left, wanted = files(root), { other, inside }
      table.sort(wanted)
      table.sort(left)
      assert.same(wanted, left)
      assert.is_false(exists(nested))
    end)
  end

  it("take a relative DESTDIR from the checkout, all of it", function()
    local place = "build/" .. helper.name "destdir"
    assert.is_true((make("install", "/usr", place)))
    local installed = files(place)
    assert.is_true(#installed > 5)
    assert.is_true((make("uninstall", "/usr", place)))
    assert.same({}, files(place))
    os.execute("rm -rf " .. quote(place))
  end)

  it("take LIBDIR and LUADIR where they are given, and refuse relative ones", function()
    local root = helper.folder()
    local places = " LIBDIR='/a b' LUADIR=/c"
    assert.is_true((make("install" .. places, "/usr", root)))
    assert.equal(1, #files(root .. "/a b/strand"))
    assert.is_true(#files(root .. "/c/strand") > 5)
    assert.is_true((make("uninstall" .. places, "/usr", root)))
    assert.same({}, files(root))
    for _, name in ipairs { "LIBDIR", "LUADIR" } do
      local ok, printed = make("install " .. name .. "=relative", "/usr", root)
      assert.is_false(ok)
      assert.matches(name .. " must be absolute", printed, 1, true)
      assert.same({}, files(root))
    end
  end)

  it("refuse a PREFIX that is empty or relative", function()
    for _, prefix in ipairs { "", "usr" } do
      for _, target in ipairs { "install", "uninstall" } do
        local ok, printed = make(target, prefix, helper.folder())
        assert.is_false(ok)
        assert.matches("PREFIX", printed, 1, true)
      end
    end
  end)
end)
