-- Keys go where Kafka's Java producer puts them: 10,000 of them, sent by both
-- to one topic of a real broker and read back by the Java consumer.
local helper = require "spec.support.helper"
local peer = require "spec.support.peer"
local strand = require "strand"

local KEYS, PARTITIONS = 10000, 11

-- The same each time.
local seed = 42
local function random(most)
  seed = seed * 16807 % 2147483647
  return seed % most
end

local function random_bytes(length, from, to)
  local bytes = {}
  for i = 1, length do bytes[i] = string.char(from + random(to - from + 1)) end
  return table.concat(bytes)
end

local LETTERS = { "\195\164", "\195\159", "\226\130\172", "\228\184\173", "\240\159\142\136", "a", "Z" }

local KINDS = {
  function(i) return "order-" .. i end,
  function(i) return tostring(i * 7919) end,
  function() return random_bytes(1 + random(60), 0, 255) end, -- zero bytes too
  function() return random_bytes(1 + random(8), 128, 255) end, -- signed in Java
  function()
    local text = {}
    for n = 1, 1 + random(12) do text[n] = LETTERS[1 + random(#LETTERS)] end
    return table.concat(text)
  end,
}

-- A null key is false here.
local function make_keys()
  local keys = {}
  for i = 1, KEYS do
    if i % 100 == 0 then keys[i] = false
    elseif i % 101 == 0 then keys[i] = ""
    else keys[i] = KINDS[1 + i % #KINDS](i) end
  end
  return keys
end

local function line_of(key)
  if not key then return "null" end
  if key == "" then return "-" end
  return (key:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function write_keys(keys)
  local lines, path = {}, helper.folder() .. "/keys"
  for i, key in ipairs(keys) do lines[i] = line_of(key) end
  helper.write(path, table.concat(lines, "\n") .. "\n")
  return path
end

-- Every other one is a partition key, of a record that has another key.
local function send_all(topic, keys)
  local producer = assert(strand.producer {
    kafka = { ["bootstrap.servers"] = helper.broker() } })
  for i, key in ipairs(keys) do
    local record = { topic = topic, key = key or nil, value = tostring(i - 1) }
    if key and i % 2 == 0 then record.key, record.partition_key = "another", key end
    assert(producer:send(record))
  end
  assert.equal(#keys, producer:close().delivered)
end

describe("the default partitioner", function()
  it("places 10,000 keys as the Java producer does", function()
    local topic, keys = helper.topic(PARTITIONS), make_keys()
    send_all(topic, keys)
    local output = peer.run("place",
      { topic = topic, keys = write_keys(keys), records = tostring(KEYS),
        limit_s = "300" }) -- of two processes, on a machine that may be busy
    local number, wrong, hashed, spread = 0, {}, {}, {}
    for here, java in output:gmatch "(%d+) (%d+)\n" do
      number = number + 1
      local key = keys[number]
      if not key then spread[here] = true
      else
        hashed[here] = true
        if here ~= java then wrong[#wrong + 1] = line_of(key) end
      end
    end
    assert.equal(KEYS, number)
    assert.same({}, wrong)
    for partition = 0, PARTITIONS - 1 do assert.is_true(hashed[tostring(partition)]) end
    assert.is_not_nil(next(spread)) -- those of Java are its own choice
  end)
end)
