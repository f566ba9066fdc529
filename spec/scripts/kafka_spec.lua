-- scripts/kafka and who calls it, with a script in the place of the server.
local helper = require "spec.support.helper"

-- Its first life finds its port taken, and has much to say; its second ends
-- for another reason.
local JAVA = [[#!/bin/sh
for word; do case $word in -Dstrand.log=*) log=${word#*=} ;; esac; done
echo life >> DIR/lives
[ "$(wc -l < DIR/lives)" -gt 1 ] || {
  echo 'SAYS'
  yes 'and from where this was called' | head -n 10000
} > "PLACE"
exit 1
]]

-- The first node works on and on, the second has an error and much to say
-- after it.
local UNEVEN = [[#!/bin/bash
for word; do case $word in -Dstrand.log=*) log=${word#*=} ;; esac; done
work () { mkfifo "$log.never"; read -t 60 <> "$log.never"; }
case $log in *.1/*) work ;; esac
{
  echo '[2026-11-30] ERROR it has no quorum (kafka)'
  yes '[2026-11-30] INFO shutting down (kafka)' | head -n 1000
} > "$log"
THEN
]]

describe("a server that does not start", function()
  local folder, version, cache

  before_each(function()
    folder, version = helper.folder(), helper.name "0.0"
    cache = "build/kafka/" .. version
    assert(os.execute("mkdir -p " .. cache .. "/formatted"))
    helper.write(cache .. "/complete", "")
    helper.write(cache .. "/formatted/meta.properties", "node.id=1\n")
    helper.write(folder .. "/java", "")
    assert(os.execute("chmod +x " .. folder .. "/java"))
  end)
  after_each(function()
    os.execute(("grep -lsxF %s build/kafka/run/*/version | xargs -r dirname | xargs -r rm -rf")
      :format(version))
    os.execute("rm -rf " .. cache)
  end)

  local function java(text, words)
    helper.write(folder .. "/java", (text:gsub("%u%u%u+", words or {})))
  end

  local function output(command)
    return helper.output(("PATH=$PWD/%s:$PATH %s 2>&1"):format(folder, command))
  end

  for place, says in pairs {
    ["$log"] = "Socket server failed to bind to 127.0.0.1:20000: Address already in use.",
    ["DIR/console.log"] = "java.net.BindException: Address in use",
  } do
    it("is started again if its port was taken, and if not then not: " .. says, function()
      local node = helper.name "node"
      java(JAVA, { DIR = folder, SAYS = says,
        PLACE = place:gsub("DIR", "build/kafka/run/" .. node) })
      local printed = output(("scripts/kafka start %s %s"):format(version, node))
      assert.matches(node .. " has ended", printed, 1, true)
      assert.equal("life\nlife\n", helper.read(folder .. "/lives"))
    end)
  end

  it("says which node did not come up, and the error that is not at its log's end", function()
    local node = helper.name "node"
    for what, became in pairs { ["exit 1"] = "has ended", work = "is not up after %d+ s" } do
      java(UNEVEN, { THEN = what })
      local printed = output(("STRAND_KAFKA_PATIENCE=1 scripts/kafka start %s %s 2")
        :format(version, node))
      local first, second = printed:match "did not start: (%S+ is not up after %d+ s), (%C+)"
      assert.matches("%.1 is", first)
      assert.matches("%.2 " .. became .. "$", second)
      assert.matches("ERROR it has no quorum", printed, 1, true)
    end
  end)

  -- One that is being started has not bound its ports yet, one that is down
  -- comes back to them: to its controller's, too.
  it("takes no port that another node has in its settings", function()
    local other, node = "build/kafka/run/" .. helper.name "other", helper.name "node"
    local all = {}
    for port = 20000, 31999 do
      if port % 40 ~= 0 then all[#all + 1] = "CONTROLLER://127.0.0.1:" .. port end
    end
    assert(os.execute("mkdir -p " .. other))
    finally(function() os.execute("rm -rf " .. other) end)
    helper.write(other .. "/server.properties", "listeners=" .. table.concat(all, ",") .. "\n")
    java "#!/bin/sh\nexit 1\n"
    output(("scripts/kafka start %s %s 3"):format(version, node))
    local seen = {}
    for i = 1, 3 do
      local settings = helper.read(("build/kafka/run/%s.%d/server.properties"):format(node, i))
      for port in settings:match "\nlisteners=(%C*)":gmatch ":(%d+)" do
        assert.equal(0, port % 40, port)
        assert.is_nil(seen[port])
        seen[port] = true
      end
    end
  end)

  it("was of the spec alone that stops its server; others share the one that runs", function()
    java(JAVA, { DIR = folder, SAYS = "Address already in use", PLACE = "$log" })
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
