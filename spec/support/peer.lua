-- The Java parallel consumer as another member of a group: spec/java/Peer.java,
-- whose head says what its commands are.
local helper = require "spec.support.helper"

local peer = {}

local JAVA = "java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto "
  .. "-cp 'build/java/lib/*:build/java/classes' Peer "

--- Runs it to its end; returns what it printed. arguments: a table by name.
function peer.run(command, arguments)
  local words = { JAVA .. command, "broker=" .. helper.broker(), "limit_s=60" }
  for name, value in pairs(arguments) do words[#words + 1] = ("'%s=%s'"):format(name, value) end
  local errors = helper.folder() .. "/java"
  local process = assert(io.popen(table.concat(words, " ") .. " 2> " .. errors))
  local output = process:read "*a"
  process:close()
  -- Of Lua 5.1 there is no exit status: it says "done" when it has closed.
  assert(output:find "^done ", output .. helper.read(errors))
  return output
end

return peer
