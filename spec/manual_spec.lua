-- What is written down in two places is the same in both.
local helper = require "spec.support.helper"

local function listed(command)
  local names = {}
  local pipe = assert(io.popen("LC_ALL=C " .. command))
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return names
end

describe("the rockspec", function()
  local rockspec = {}
  local chunk
  if setfenv then
    chunk = setfenv(assert(loadfile "rockspec/strand-dev-1.rockspec"), rockspec)
  else
    chunk = assert(loadfile("rockspec/strand-dev-1.rockspec", "t", rockspec))
  end
  chunk()

  it("lists each C file there is, and no other", function()
    assert.same(listed "ls src/*/*.c", rockspec.build.modules["strand.core"].sources)
  end)

  it("lists each Lua module there is, and no other", function()
    local modules = {}
    for _, path in ipairs(listed "find lua/strand -name '*.lua'") do
      local name = path:match "^lua/(.*)%.lua$":gsub("/init$", ""):gsub("/", ".")
      modules[name] = path
    end
    modules["strand.core"] = rockspec.build.modules["strand.core"]
    assert.same(modules, rockspec.build.modules)
  end)

  it("is what 'make rockspec' writes", function()
    local path = "rockspec/strand-dev-1.rockspec"
    local before = helper.read(path)
    local copy = helper.folder()
    assert(os.execute("scripts/rockspec " .. copy .. "/written"))
    assert.equal(helper.read(copy .. "/written"), before)
  end)
end)
