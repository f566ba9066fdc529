-- Keys go to the partitions where Kafka's own Java client put them: the
-- vectors were made by it (see the file's head).
local helper = require "spec.support.helper"
local strand = require "strand"

local VECTORS = "spec/support/murmur2-vectors.tsv"
local ELEVEN = 8 -- column of the placement among 11 partitions

local function key_of(text)
  local times, byte = text:match "^(%d+)%*(%x%x)$"
  if times then return string.char(tonumber(byte, 16)):rep(tonumber(times)) end
  if text == "-" then return "" end
  return (text:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function vectors()
  local list = {}
  for line in io.lines(VECTORS) do
    if line:sub(1, 1) ~= "#" then
      local cells = {}
      for cell in line:gmatch "[^\t]+" do cells[#cells + 1] = cell end
      list[#list + 1] = { key = key_of(cells[1]), partition = tonumber(cells[ELEVEN]) }
    end
  end
  return list
end

describe("the default partitioner", function()
  local producer, topic

  setup(function()
    topic = helper.topic(11)
    producer = assert(strand.producer { kafka = {
      ["bootstrap.servers"] = helper.bootstrap(), ["message.max.bytes"] = 4000000 } })
  end)
  teardown(function()
    producer:close()
    helper.close_cluster()
  end)

  it("places keys as the Java client does", function()
    local count = 0
    for _, vector in ipairs(vectors()) do
      if #vector.key < 100000 then -- the topic takes records up to 1 MB
        local report = assert(producer:send_wait { topic = topic, key = vector.key })
        assert.equal(vector.partition, report.partition)
        count = count + 1
      end
    end
    assert.is_true(count >= 100)
  end)

  it("places partition keys as the Java client does, also long ones", function()
    for _, vector in ipairs(vectors()) do
      local report = assert(producer:send_wait { topic = topic, partition_key = vector.key })
      assert.equal(vector.partition, report.partition)
    end
  end)
end)
