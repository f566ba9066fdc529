-- scripts/kafka and who calls it, with a script in the place of the server.
local helper = require "spec.support.helper"

-- Its first life finds its port taken, and has much to say; its second ends
-- for another reason.
local JAVA = [[#!/bin/sh
for word; do case $word in -Dstrand.log=*) log=${word#*=} ;; esac; done
echo life >> DIR/lives
[ "$(wc -l < DIR/lives)" -gt 1 ] || {
  echo 'Socket server failed to bind: Address already in use.'
  yes 'and from where this was called' | head -n 10000
} > "$log"
exit 1
]]

describe("a server that does not start", function()
  local folder, version, cache

  before_each(function()
    folder, version = helper.folder(), helper.name "0.0"
    cache = "build/kafka/" .. version
    assert(os.execute("mkdir -p " .. cache .. "/formatted"))
    helper.write(cache .. "/complete", "")
    helper.write(cache .. "/formatted/meta.properties", "node.id=1\n")
    helper.write(folder .. "/java", (JAVA:gsub("DIR", folder)))
    assert(os.execute("chmod +x " .. folder .. "/java"))
  end)
  after_each(function()
    os.execute(("grep -lsxF %s build/kafka/run/*/version | xargs -r dirname | xargs -r rm -rf")
      :format(version))
    os.execute("rm -rf " .. cache)
  end)

  local function output(command)
    return helper.output(("PATH=$PWD/%s:$PATH %s 2>&1"):format(folder, command))
  end

  it("is started again if its port was taken, and if not then not", function()
    local printed = output(("scripts/kafka start %s %s"):format(version, helper.name "node"))
    assert.matches("did not start", printed, 1, true)
    assert.equal("life\nlife\n", helper.read(folder .. "/lives"))
  end)

  it("was of the spec alone that stops its server; others share the one that runs", function()
    local calm, stops = folder .. "/calm_spec.lua", folder .. "/stops_spec.lua"
    helper.write(calm, "it('is calm', function() end)")
    helper.write(stops, "local function stop(helper) helper.kafka 'kill' end\n"
      .. "it('stops it', function() stop() end)")
    local printed = output(("env -u SAN STRAND_BUILT=1 STRAND_BROKER=127.0.0.1:1 KAFKA_VERSION=%s "
      .. "JOBS=1 scripts/specs lua5.4 %s %s"):format(version, calm, stops))
    local _, lives = helper.read(folder .. "/lives"):gsub("life\n", "")
    assert.equal(2, lives, printed)
    assert.matches("== " .. calm .. "\n+\n  " .. calm, printed, 1, true)
    assert.matches("Error -> " .. stops .. " @ 0\nit ended with status 1", printed, 1, true)
  end)
end)
