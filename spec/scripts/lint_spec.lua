-- scripts/lint, on a copy of the tree: a check that cannot fail has let things
-- through before ('refuse' set its status in a pipeline's subshell).
local helper = require "spec.support.helper"

describe("lint", function()
  local place

  before_each(function()
    place = helper.folder()
    assert(os.execute(("cp -a Makefile mk scripts src %s"):format(place)))
  end)
  after_each(function() os.execute("rm -rf " .. place) end)

  -- -> what it printed, exit status
  local function lint(checks)
    local text = helper.output(("%s/scripts/lint %s 2>&1; echo \":$?\""):format(place, checks))
    local printed, status = text:match "^(.*):(%d+)%s*$"
    return printed, tonumber(status)
  end

  local function refuses(checks, ...)
    local printed, status = lint(checks)
    assert.equal(1, status, printed)
    for _, what in ipairs { ... } do assert.matches(what, printed, 1, true) end
    assert.is_nil(printed:find("nothing found", 1, true))
  end

  -- Adds a line to a file; returns "FILE:NUMBER" of it.
  local function add(path, line)
    local text = helper.read(place .. "/" .. path)
    local _, number = text:gsub("\n", "")
    helper.write(place .. "/" .. path, text .. line .. "\n")
    return ("%s:%d: "):format(path, number + 1)
  end

  local function create(path, text)
    assert(os.execute(("mkdir -p %s/%s"):format(place, path:match "^(.*)/")))
    helper.write(place .. "/" .. path, text)
  end

  it("finds nothing in this tree, and has read each C file of src", function()
    local printed, status = lint "layers headers"
    assert.equal(0, status, printed)
    local there = tonumber(helper.output "find src -name '*.[ch]' | wc -l")
    assert.matches(("lint: %d C files of src,"):format(there), printed, 1, true)
    assert.matches("lint: nothing found", printed, 1, true)
  end)

  local cases = {
    { "src/core/retry.c", '#include "base/clock.h"', 'core may not include "base/clock.h"' },
    { "src/core/retry.h", '#include "lua/compat.h"', 'core may not include "lua/compat.h"' },
    { "src/kafka/log.c", '  #  include "lua/compat.h"', 'kafka may not include "lua/compat.h"' },
    { "src/kafka/log.c", '#include "producer/delivery.h"',
      'kafka may not include "producer/delivery.h"' },
    { "src/core/throttle.c", "#include <lua.h>", "core may not include <lua.h> (lua)" },
    { "src/core/throttle.c", "#include <pthread.h>", "core may not include <pthread.h> (threads)" },
    { "src/core/throttle.c", "#include <time.h>", "core may not include <time.h> (system)" },
    { "src/core/throttle.c", "#include <unistd.h>", "core may not include <unistd.h> (system)" },
    { "src/core/throttle.c", "#include <zstd.h>", "core may not include <zstd.h> (zstd)" },
    { "src/core/throttle.c", "#include <librdkafka/rdkafka.h>",
      "core may not include <librdkafka/rdkafka.h> (librdkafka)" },
    { "src/kafka/log.c", "#include <lua.h>", "kafka may not include <lua.h> (lua)" },
    { "src/lua/results.c", "#include <librdkafka/rdkafka.h>",
      "lua may not include <librdkafka/rdkafka.h> (librdkafka)" },
    { "src/lua/worker/batch.c", '#include "lua/consumer.h"',
      'lua/worker may not include "lua/consumer.h"' },
    { "src/lua/results.c", "#include <setjmp.h>", "no layer may include <setjmp.h>" },
    { "src/core/throttle.c", '#include "../kafka/clock.h"', "a header is named from src on" },
    { "src/base/fork.c", '#include "clock.h"', "a header is named from src on" },
    { "src/base/fork.c", "#include HEADER", "a header is named from src on" },
  }
  for _, case in ipairs(cases) do
    it(("refuses %s in %s"):format(case[2], case[1]), function()
      local at = add(case[1], case[2])
      refuses("layers", at .. case[3])
    end)
  end

  it("refuses an upward include in a deeper folder", function()
    create("src/core/deep/er/one.c", '#include "base/clock.h"\n')
    refuses("layers", 'src/core/deep/er/one.c:1: core may not include "base/clock.h"')
  end)

  it("refuses a file of a folder that is no layer", function()
    create("src/other/one.c", "")
    refuses("layers", "src/other/one.c: it is in no layer")
  end)

  it("refuses what the table allows for nothing", function()
    assert(os.execute("rm " .. place .. "/src/codec/payload_decode.c"))
    refuses("layers", "no file of codec/payload_decode includes zstd headers")
  end)

  it("refuses a mutex without a rank", function()
    local at = add("src/base/fork.c", "static pthread_mutex_t lock;")
    refuses("locks", "a mutex of pthread", (at:gsub(" $", "")))
  end)

  it("refuses a unit that takes another's lock", function()
    add("src/base/fork.c", "void f (strand_log *l) { strand_lock_take(&l->lock); }")
    refuses("locks", "units that take another's lock", "fork")
  end)

  it("refuses an atomic that no comment explains", function()
    local at = add("src/base/fork.c", "static atomic_int count;")
    add("src/base/fork.c", "/* Counted by any. */\nstatic atomic_int other;")
    add("src/base/fork.c", "static volatile int third;")
    local printed, status = lint "atomics"
    assert.equal(1, status, printed)
    assert.matches(at .. "static atomic_int count;", printed, 1, true)
    assert.is_nil(printed:find("other", 1, true) or printed:find("third", 1, true))
  end)

  it("refuses an invariant that is not asserted", function()
    local path = place .. "/src/base/waker.c"
    helper.write(path, (helper.read(path):gsub("/%* %(2%) %*/", "")))
    refuses("invariants", "src/base/waker.h: a check asserts (1), the header has (1) (2)")
  end)

  it("refuses a header above the engine with a number that nobody asserts", function()
    local path = place .. "/src/shared/bell.h"
    helper.write(path, (helper.read(path):gsub("Protocol:", "Invariants:")))
    refuses("invariants", "src/shared/bell.h: a check asserts none, the header has (1)")
  end)

  it("refuses one of the engine that is not asserted", function()
    local path = place .. "/src/core/check.c"
    helper.write(path, (helper.read(path):gsub("/%* %(8%) %*/", "")))
    refuses("invariants", "src/core/engine.h: a check asserts (1) (2) (3) (4) (5) (6) (7) (9), "
      .. "the header has (1) (2) (3) (4) (5) (6) (7) (8) (9)")
  end)

  it("refuses an invariant that is asserted somewhere else than in a check", function()
    local path = place .. "/src/base/waker.c"
    helper.write(path, (helper.read(path):gsub("strand_waker_check %(", "strand_waker_inspect (")))
    refuses("invariants", "src/base/waker.h: a check asserts none, the header has (1) (2)")
    add("src/base/waker.c", "void strand_waker_check (const strand_waker *w) {\n"
      .. "  strand_waker_inspect(w);\n}")
    local printed, status = lint "invariants"
    assert.equal(0, status, printed)
  end)

  it("takes no comment for an assert", function()
    local path, header = place .. "/src/codec/utf8.h"
    header = helper.read(path):gsub("%*%* Thread", "** Invariants:\n**   (1) Some.\n**\n** Thread")
    helper.write(path, header)
    add("src/codec/utf8.c", "/* (1) */ static int count; /* (1) */")
    refuses("invariants", "src/codec/utf8.h: a check asserts none, the header has (1)")
    add("src/codec/utf8.c", "static void check (void) { assert(count); /* (1) */ }")
    local printed, status = lint "invariants"
    assert.equal(0, status, printed)
  end)

  describe("of mutants", function()
    before_each(function()
      assert(os.execute(("cp -a spec lua %s"):format(place)))
    end)

    it("takes those of this tree", function()
      local printed, status = lint "mutants"
      assert.equal(0, status, printed)
    end)

    it("refuses one whose place has changed", function()
      local path = place .. "/src/core/waiting.c"
      helper.write(path, (helper.read(path):gsub("park_alone;", "park_alone != 0;")))
      refuses("mutants", "a mutant that does not apply any more",
        "parked_record_lets_its_shard_go.patch: it does not apply", "src/core/waiting.c")
    end)

    it("refuses one whose test is not there", function()
      os.remove(place .. "/spec/c/lua_seats_test.c")
      refuses("mutants", "there is no test 'lua_seats_test'")
    end)

    it("refuses one that is not of src", function()
      create("spec/mutants/other.patch", "")
      refuses("mutants", "spec/mutants/other.patch")
    end)
  end)

  it("refuses a header without its Thread line", function()
    create("src/core/deep/one.h", "/*\n** Threads: any.\n*/\n")
    refuses("headers", "src/core/deep/one.h")
  end)

  it("refuses a file of more than 500 lines", function()
    create("src/core/long.c", ("\n"):rep(501))
    refuses("lengths", "a file of src of more than 500 lines", "501 src/core/long.c")
  end)

  it("has a status that a later check does not take back", function()
    add("src/core/throttle.c", "#include <lua.h>")
    refuses("layers headers", "core may not include <lua.h>")
  end)

  -- With the objects that are there: only what a test adds is compiled.
  describe("of circles", function()
    before_each(function()
      os.execute(("[ ! -d build/lua5.4-debug ] || "
        .. "{ mkdir -p %s/build && cp -a build/lua5.4-debug %s/build; }"):format(place, place))
    end)

    local HEADER = "void strand_spec_%s (void);\n"
    local CALLS = "void strand_spec_%s (void);\nvoid strand_spec_%s (void);\n"
      .. "void strand_spec_%s (void) {\n  strand_spec_%s();\n}\n"

    it("finds none in this tree", function()
      local printed, status = lint "circles"
      assert.equal(0, status, printed)
      assert.is_nil(printed:find("a circle", 1, true))
    end)

    it("refuses one by includes", function()
      create("src/core/deep/one.h", '#include "core/two.h"\n' .. HEADER:format "one")
      create("src/core/two.h", '#include "core/deep/one.h"\n' .. HEADER:format "two")
      refuses("circles", "a circle of 2 by includes: core/deep/one core/two")
    end)

    it("refuses one by calls", function()
      create("src/core/deep/one.c", CALLS:format("one", "two", "one", "two"))
      create("src/core/two.c", CALLS:format("two", "one", "two", "one"))
      refuses("circles", "a circle of 2 by calls: core/deep/one core/two")
    end)

    it("refuses a tree that does not build", function()
      create("src/core/deep/one.c", "#error on purpose\n")
      refuses("circles", "on purpose")
    end)
  end)

  it("knows its checks", function()
    local printed, status = lint "layers circle"
    assert.equal(2, status, printed)
    assert.matches("there is no check 'circle'", printed, 1, true)
  end)
end)
