-- Nodes with settings of their own, for the tests that need them.
local helper = require "spec.support.helper"

--- One, or several, with 'settings' (lines of KEY=VALUE); ends with the test
--- by finally(close), or with the run that this is a part of. Returns its
--- address, kafka(action, "" or ".2", ...) for scripts/kafka, close, and the
--- folder that it lives in.
return function(settings, count)
  local name = os.getenv "STRAND_KAFKA_NAME":gsub("^run%-", "run-own" .. helper.name "":gsub("%W", "") .. "-")
  local folder = helper.folder()
  -- Returns what it printed; raises with what it said.
  local function run(command)
    local done = os.execute(("%s > %s/out 2> %s/err"):format(command, folder, folder))
    assert(done == true or done == 0, command .. "\n" .. helper.read(folder .. "/err"))
    return helper.read(folder .. "/out")
  end
  local address = run(("STRAND_KAFKA_SETTINGS='%s' scripts/kafka start %s %s %d")
    :format(settings, os.getenv "KAFKA_VERSION", name, count or 1)):match "%S+"
  local function kafka(action, which, ...)
    run(("scripts/kafka %s %s%s %s"):format(action, name, which, table.concat({ ... }, " ")))
  end
  local function close()
    os.execute(("scripts/kafka stop %s > /dev/null 2>&1; rm -rf build/kafka/run/%s"):format(
      name, name .. " build/kafka/run/" .. name .. ".[0-9]*"))
  end
  return address, kafka, close, "build/kafka/run/" .. name
end
