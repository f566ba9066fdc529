-- Nodes with settings of their own, for the tests that need them.
local helper = require "spec.support.helper"

--- One, or several, with 'settings' (lines of KEY=VALUE); ends with the test
--- by finally(close), or with the run that this is a part of. Returns its
--- address, kafka(action, "" or ".2", ...) for scripts/kafka, close, and the
--- folder that it lives in.
return function(settings, count)
  local name = os.getenv "STRAND_KAFKA_NAME":gsub("^run%-", "run-own" .. helper.name "":gsub("%W", "") .. "-")
  local out = helper.folder() .. "/address"
  local ok = os.execute(("STRAND_KAFKA_SETTINGS='%s' scripts/kafka start %s %s %d > %s 2> /dev/null")
    :format(settings, os.getenv "KAFKA_VERSION", name, count or 1, out))
  assert(ok == true or ok == 0, "the node does not start")
  local function kafka(action, which, ...)
    local command = ("scripts/kafka %s %s%s %s > /dev/null 2>&1"):format(action, name, which,
      table.concat({ ... }, " "))
    local done = os.execute(command)
    assert(done == true or done == 0, command)
  end
  local function close()
    os.execute(("scripts/kafka stop %s > /dev/null 2>&1; rm -rf build/kafka/run/%s"):format(
      name, name .. " build/kafka/run/" .. name .. ".[0-9]*"))
  end
  return helper.read(out):match "%S+", kafka, close, "build/kafka/run/" .. name
end
