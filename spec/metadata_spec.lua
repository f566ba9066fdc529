-- What a commit's metadata says: read and written as the Java consumer does.
-- C's own tests are in spec/c/payload_test.c; here is what Lua adds.
local core = require "strand.core"

local decode, encode = core.metadata_decode, core.metadata_encode
local VECTORS = "spec/support/payload-vectors.tsv"
local ABOVE_53_BITS = math.maxinteger ~= nil  -- luacheck: ignore 143

local function parse_ranges(list)
  local ranges = {}
  for item in list:gmatch "[^,]+" do
    local first, last = item:match "^(%d+)%-(%d+)$"
    first = tonumber(first or item)
    ranges[#ranges + 1] = { first, tonumber(last) or first }
  end
  return ranges
end

local function each_vector()
  local lines = io.lines(VECTORS)
  lines()  -- names of columns
  return function()
    local line = lines()
    if not line then return nil end
    local case, codec, _, base, highest, incomplete, text = line:match(
      "^(%S+)\t(%S+)\t(%d+)\t(%d+)\t(%d+)\t(%S*)\t(%S+)$")
    return { case = case, codec = codec, base = tonumber(base),
             highest = tonumber(highest), text = text,
             incomplete = parse_ranges(incomplete) }
  end
end

describe("metadata that the Java consumer wrote", function()
  it("is read: all 188 payloads, in all eight codecs", function()
    local count, codecs = 0, {}
    for vector in each_vector() do
      local decoded = assert(decode(vector.base, vector.text))
      local want = { highest = vector.highest, codec = vector.codec,
                     incomplete = vector.incomplete }
      assert.same(want, decoded, vector.case)
      count, codecs[vector.codec] = count + 1, true
    end
    local kinds = 0
    for _ in pairs(codecs) do kinds = kinds + 1 end
    assert.equal(188, count)
    assert.equal(8, kinds)
  end)

  it("says the same after it was written again", function()
    for vector in each_vector() do
      local text, codec = encode(vector.base, vector.highest,
                                 vector.incomplete)
      local want = { highest = vector.highest, codec = codec,
                     incomplete = vector.incomplete }
      assert.same(want, decode(vector.base, text), vector.case)
    end
  end)
end)

describe("metadata.decode", function()
  it("reads an empty text as nothing done above the commit", function()
    assert.same({ highest = 40, incomplete = {}, codec = "none" },
                decode(41, ""))
    assert.same({ highest = -1, incomplete = {}, codec = "none" },
                decode(0, ""))
  end)

  it("gives whole numbers", function()
    local decoded = decode(41, "ZQAAAAEAAAAB")
    assert.equal("41", tostring(decoded.incomplete[1][1]))
    assert.equal("42", tostring(decoded.highest))
  end)

  local cases = {
    { "offset=41", "BAD_FORMAT", "not base64" },
    { "ZQAAAAE", "BAD_FORMAT", "not base64" },
    { "ZQAAAAE=\0", "BAD_FORMAT", "not base64" },
    { "AQAAAAAAAAAq", "BAD_FORMAT", "metadata of Kafka Streams, version 1" },
    { "AgAA", "BAD_FORMAT", "metadata of Kafka Streams, version 2" },
    { "ZQAAAA==", "BAD_FORMAT", "the body ends within a number" },
    { "ZX////8AAAAB", "TOO_LARGE", "more than 2147483647 offsets" },
    { "Zf////8=", "BAD_FORMAT", "a run of negative length" },
    { "b3////8A", "BAD_FORMAT", "the bit set is longer than its bytes" },
    { "cyi1L/0AOA==", "BAD_FORMAT", "the zstd frame is cut off" },
  }
  for _, case in ipairs(cases) do
    it("returns " .. case[2] .. " for: " .. case[3], function()
      local decoded, message, code = decode(41, case[1])
      assert.is_nil(decoded)
      assert.equal(case[2], code)
      assert.equal(case[3], message)
    end)
  end

  it("never names an offset that is not exact", function()
    local top = 2 ^ 53
    if ABOVE_53_BITS then
      assert.equal(top + 2, decode(top, "ZQAAAAEAAAAC").highest)
    else
      local decoded, _, code = decode(top, "ZQAAAAEAAAAC")
      assert.is_nil(decoded)
      assert.equal("TOO_LARGE", code)
    end
  end)
end)

describe("metadata.encode", function()
  it("picks the smallest of three codecs", function()
    local text, codec = encode(0, 199998, { { 0, 0 } })
    assert.equal("ZQAAAAEAAw0+", text)
    assert.equal("RunLengthV2", codec)

    local alternate = {}
    for offset = 0, 98, 2 do alternate[#alternate + 1] = { offset, offset } end
    text, codec = encode(0, 99, alternate)
    assert.equal(28, #text)
    assert.equal("BitSetV2", codec)

    table.insert(alternate, { 50000, 50000 })
    text, codec = encode(0, 60000, alternate)
    assert.equal("BitSetV2Compressed", codec)
    assert.same(alternate, decode(0, text).incomplete)
  end)

  it("keeps ten million done and 4,000 half done under 1,000 characters",
     function()
    local ranges = { { 0, 0 } }
    for offset = 10000001, 10003999, 2 do
      if math.random(2) == 1 then offset = offset + 1 end
      local last = ranges[#ranges]
      if last[2] == offset - 1 then
        last[2] = offset
      else
        ranges[#ranges + 1] = { offset, offset }
      end
    end
    local text = assert(encode(0, 10004001, ranges))
    assert.is_true(#text < 1000)
    assert.same(ranges, decode(0, text).incomplete)
  end)

  it("writes nothing when nothing is done above the commit", function()
    local text, codec = encode(41, 40, {})
    assert.equal("", text)
    assert.equal("none", codec)
    assert.equal("", (encode(0, -1, {}, 0)))
  end)

  it("joins ranges that touch", function()
    local text = encode(41, 50, { { 41, 42 }, { 43, 43 }, { 44, 45 } })
    assert.same({ { 41, 45 } }, decode(41, text).incomplete)
  end)

  it("takes a first offset that is done", function()
    local text = encode(41, 50, { { 45, 46 } })
    assert.same({ { 45, 46 } }, decode(41, text).incomplete)
  end)

  it("says when the text would be longer than the limit", function()
    assert.equal(12, #encode(0, 199998, { { 0, 0 } }, 12))
    local text, message, code = encode(0, 199998, { { 0, 0 } }, 11)
    assert.is_nil(text)
    assert.equal("more than 11 characters", message)
    assert.equal("TOO_LARGE", code)
  end)

  it("has a limit of 4096 characters", function()
    local ranges = {}
    for i = 0, 999 do ranges[#ranges + 1] = { i * 100, i * 100 } end
    local text, _, code = encode(0, 99999, ranges)
    assert.is_nil(text)
    assert.equal("TOO_LARGE", code)
    assert.is_true(#encode(0, 99999, ranges, 20000) > 4096)
  end)

  it("says when the range is wider than a payload can describe", function()
    local text, _, code = encode(0, 2 ^ 31, { { 0, 0 } })
    assert.is_nil(text)
    assert.equal("TOO_LARGE", code)
    assert.equal(12, #encode(0, 2 ^ 31 - 2, { { 0, 0 } }))
  end)
end)

describe("misuse", function()
  local cases = {
    { decode, { nil, "" }, "committed_offset: whole number from 0 expected" },
    { decode, { "1", "" }, "committed_offset: whole number from 0 expected" },
    { decode, { -1, "" }, "committed_offset: whole number from 0 expected" },
    { decode, { 0.5, "" }, "committed_offset: whole number from 0 expected" },
    { decode, { 0 / 0, "" },
      "committed_offset: whole number from 0 expected" },
    { decode, { 2 ^ 63, "" },
      "committed_offset: whole number from 0 expected" },
    { decode, { 1 }, "text: string expected" },
    { decode, { 1, 2 }, "text: string expected" },
    { encode, { -1, 0, {} },
      "committed_offset: whole number from 0 expected" },
    { encode, { 0, -2, {} }, "highest: whole number from -1 expected" },
    { encode, { 0, "x", {} }, "highest: whole number from -1 expected" },
    { encode, { 5, 3, {} }, "highest: not below committed_offset - 1" },
    { encode, { 5, 9 }, "incomplete: list of { first, last } expected" },
    { encode, { 5, 9, { 5 } }, "incomplete[1]: { first, last } expected" },
    { encode, { 5, 9, { { 5 } } },
      "incomplete[1]: { first, last } expected, two whole numbers" },
    { encode, { 5, 9, { { 5, 6, 7 } } },
      "incomplete[1]: { first, last } expected, two whole numbers" },
    { encode, { 5, 9, { { 5, 6, last = 7 } } },
      "incomplete[1]: { first, last } expected, two whole numbers" },
    { encode, { 5, 9, { { 5, 5 }, nil, { 7, 7 } } },
      "incomplete: a list without holes expected, got a mixed one" },
    { encode, { 5, 9, { { 5, 5 }, last = { 7, 7 } } },
      "incomplete: a list without holes expected, got a mixed one" },
    { encode, { 5, 9, { { 5, 5.5 } } },
      "incomplete[1]: { first, last } expected, two whole numbers" },
    { encode, { 5, 9, { { 5, 5 }, { 8, 7 } } },
      "incomplete[2]: first is above last" },
    { encode, { 5, 9, { { 4, 5 } } },
      "incomplete[1]: below the committed offset" },
    { encode, { 5, 9, { { 5, 10 } } },
      "incomplete[1]: above the highest offset" },
    { encode, { 5, 4, { { 5, 5 } } },
      "incomplete[1]: above the highest offset" },
    { encode, { 5, 9, { { 8, 8 }, { 5, 5 } } },
      "incomplete[2]: not above the one before" },
    { encode, { 5, 9, { { 5, 7 }, { 7, 8 } } },
      "incomplete[2]: not above the one before" },
    { encode, { 5, 9, {}, -1 },
      "limit: whole number from 0 to 1048576 expected" },
    { encode, { 5, 9, {}, 2 ^ 21 },
      "limit: whole number from 0 to 1048576 expected" },
    { encode, { 5, 9, {}, "4096" },
      "limit: whole number from 0 to 1048576 expected" },
  }
  local names = { [decode] = "decode", [encode] = "encode" }
  for i, case in ipairs(cases) do
    it(("of %s raises (%d): %s"):format(names[case[1]], i, case[3]),
       function()
      local arguments = case[2]
      local ok, message = pcall(case[1], arguments[1], arguments[2],
                                arguments[3], arguments[4])
      assert.is_false(ok)
      assert.matches(case[3], message, 1, true)
    end)
  end
end)
