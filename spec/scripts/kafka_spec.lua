-- scripts/kafka: somebody may take a port between the look and the bind. The
-- server is a script here, which says what the real one would say.
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

describe("a node whose port is taken", function()
  it("is started again, and one that ends for another reason is not", function()
    local folder, version = helper.folder(), helper.name "0.0"
    local cache, node = "build/kafka/" .. version, helper.name "node"
    finally(function() os.execute(("rm -rf %s build/kafka/run/%s"):format(cache, node)) end)
    os.execute("mkdir -p " .. cache .. "/formatted")
    helper.write(cache .. "/complete", "")
    helper.write(cache .. "/formatted/meta.properties", "node.id=1\n")
    helper.write(folder .. "/java", (JAVA:gsub("DIR", folder)))
    os.execute("chmod +x " .. folder .. "/java")
    local printed = helper.output(("PATH=$PWD/%s:$PATH scripts/kafka start %s %s 2>&1")
      :format(folder, version, node))
    assert.matches("did not start", printed, 1, true)
    assert.equal("life\nlife\n", helper.read(folder .. "/lives"))
  end)
end)
