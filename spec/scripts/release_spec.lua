-- scripts/release, in a small repository of its own: what it refuses, and
-- what it does.
local helper = require "spec.support.helper"

describe("a release", function()
  local place

  local function output(command)
    local text = helper.output(("unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE; "
      .. "cd %s && { %s; } 2>&1; echo \":$?\""):format(place, command))
    local printed, status = text:match "^(.*):(%d+)%s*$"
    return printed, tonumber(status)
  end

  local function run(command)
    local printed, status = output(command)
    assert.equal(0, status, printed)
    return printed
  end

  local function commit()
    run "git add --all && git commit --quiet --message change"
  end

  -- One that can be released as 1.2.3, but for what a test breaks.
  before_each(function()
    place = helper.folder()
    assert(os.execute(("cd %s && mkdir -p src lua/strand scripts rockspec"):format(place)))
    assert(os.execute("cp scripts/release " .. place .. "/scripts"))
    assert(os.execute("cp rockspec/strand-dev-1.rockspec " .. place .. "/rockspec"))
    helper.write(place .. "/CHANGELOG.md", "# Changes\n\n## 1.2.3 (2026-02-28)\n\n- One.\n\n"
      .. "## 1.2.2 (2026-01-31)\n\n- Another.\n")
    helper.write(place .. "/lua/strand/version.lua", 'return "1.2.3"\n')
    helper.write(place .. "/src/one.c", "")
    helper.write(place .. "/scripts/lint", "#!/bin/sh\n")
    run("chmod +x scripts/lint && git init --quiet && "
      .. "git config user.name spec && git config user.email spec@localhost && "
      .. "git config commit.gpgsign false && git config tag.gpgsign false")
    commit()
  end)

  local function untouched(before)
    assert.equal(before, run "git rev-parse HEAD")
    assert.equal("", run "git tag --list v1.2.3")
    assert.equal("rockspec/strand-dev-1.rockspec\n", run "ls rockspec/*")
  end

  local function replace(path, what, with)
    path = place .. "/" .. path
    local text = helper.read(path)
    local from, to = assert(text:find(what, 1, true))
    helper.write(path, text:sub(1, from - 1) .. with .. text:sub(to + 1))
  end

  local cases = {
    { "without a version", "which version?", version = "" },
    { "whose version is none", "'1.2' is no version", version = "1.2" },
    { "whose version would leave the folder", "is no version", version = "../1.2.3" },
    { "of a version that version.lua does not say", "version.lua says 1.2.3, not 1.2.4",
      version = "1.2.4" },
    { "without a section of the change log", "no section '## 1.2.3 (YYYY-MM-DD)'",
      function() replace("CHANGELOG.md", "## 1.2.3", "## 1.3.0") commit() end },
    { "whose section has no date", "'## 1.2.3 (unreleased)' has no date",
      function() replace("CHANGELOG.md", "2026-02-28", "unreleased") commit() end },
    { "whose section has a day that is none", "has no date",
      function() replace("CHANGELOG.md", "2026-02-28", "2026-02-30") commit() end },
    { "whose section is not the first", "first section is '## 1.3.0 (unreleased)'",
      function()
        replace("CHANGELOG.md", "## 1.2.3", "## 1.3.0 (unreleased)\n\n- New.\n\n## 1.2.3")
        commit()
      end },
    { "of a tree that is not clean", "not clean:\n M src/one.c",
      function() helper.write(place .. "/src/one.c", "int one;\n") end },
    { "of a tree with a file that git does not know", "not clean:\n?? src/two.c",
      function() helper.write(place .. "/src/two.c", "") end },
    { "whose rockspec has no line for the version", "has changed: no line version =",
      function()
        replace("rockspec/strand-dev-1.rockspec", 'version = "dev-1"', 'version = "scm-1"')
        commit()
      end },
    { "in which lint finds something", "told by lint\nrelease: lint has found something",
      function()
        helper.write(place .. "/scripts/lint", "#!/bin/sh\necho told by lint\nexit 1\n")
        commit()
      end },
    { "without a branch", "HEAD is detached",
      function() run "git checkout --quiet --detach" end },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. " is refused, and nothing is done", function()
      if case[3] then case[3]() end
      local before = run "git rev-parse HEAD"
      for _, dry in ipairs { "", "DRY=1 " } do
        local printed, status = output(dry .. "scripts/release '" .. (case.version or "1.2.3") .. "'")
        assert.equal(1, status, printed)
        assert.matches(case[2], printed, 1, true)
        untouched(before)
      end
    end)
  end

  it("is only told by DRY=1", function()
    local before = run "git rev-parse HEAD"
    local printed = run "DRY=1 scripts/release 1.2.3"
    assert.matches("would write rockspec/strand-1.2.3-1.rockspec", printed, 1, true)
    assert.matches('version = "1.2.3-1"', printed, 1, true)
    assert.matches("tag that as v1.2.3", printed, 1, true)
    untouched(before)
    assert.equal("", run "git status --porcelain")
  end)

  it("is a commit with its rockspec, and a tag; the next one of it is refused", function()
    local before = run "git rev-parse HEAD"
    local printed = run "scripts/release 1.2.3"
    assert.matches("nothing was pushed", printed, 1, true)
    assert.equal("", run "git status --porcelain")
    assert.equal(before, run "git rev-parse HEAD^")
    assert.equal(run "git rev-parse HEAD", run "git rev-parse 'v1.2.3^{commit}'")
    assert.equal("rockspec/strand-1.2.3-1.rockspec\n", run "git diff --name-only HEAD^")

    local rockspec = {}
    local text = helper.read(place .. "/rockspec/strand-1.2.3-1.rockspec")
    local chunk = assert((loadstring or load)(text))
    if setfenv then setfenv(chunk, rockspec) else chunk = load(text, "=r", "t", rockspec) end
    chunk()
    assert.equal("1.2.3-1", rockspec.version)
    assert.equal("v1.2.3", rockspec.source.tag)
    assert.equal("make", rockspec.build.type)

    local again, status = output "scripts/release 1.2.3"
    assert.equal(1, status)
    assert.matches("the tag v1.2.3 is there already", again, 1, true)
  end)
end)
