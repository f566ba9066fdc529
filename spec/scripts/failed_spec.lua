-- scripts/failed: the failed tests are named, from the log of each kind of suite.
local helper = require "spec.support.helper"

describe("of a failed suite's log", function()
  local function failed(kind, log)
    local path = helper.folder() .. "/log"
    helper.write(path, log)
    local pipe = assert(io.popen(("scripts/failed %s %s"):format(kind, path)))
    local names = {}
    for line in pipe:lines() do names[#names + 1] = line end
    pipe:close()
    return names
  end

  it("cmocka's tests are named with their program, also one that did not end", function()
    assert.same({
      "build/test/one_test: bad", "    [  ERROR   ] --- 0x1 != 0x2",
      "build/test/one_test: left out (skipped)",
      "build/test-thread/two_test: dies (did not end)",
      "build/test/three_test: GROUP SETUP",
      "build/test/four_test: SUMMARY: AddressSanitizer: 12 byte(s) leaked",
      "build/test/four_test: hangs (did not end)",
    }, failed("cmocka", [[
build/test/zero_test
[ RUN      ] fine
[       OK ] fine
[  PASSED  ] 1 test(s).
build/test/one_test
[==========] Running 3 test(s).
[ RUN      ] good
[       OK ] good
[ RUN      ] bad
[  ERROR   ] --- 0x1 != 0x2
[  FAILED  ] bad
[ RUN      ] left out
[  SKIPPED ] left out
[==========] 3 test(s) run.
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] left out
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] bad

 1 FAILED TEST(S)
build/test-thread/two_test
[ RUN      ] dies
build/test/three_test
[  FAILED  ] GROUP SETUP
build/test/four_test
SUMMARY: AddressSanitizer: 12 byte(s) leaked
[ RUN      ] hangs
]]))
  end)

  it("busted's are named with file and line, and a sanitizer's reports too", function()
    assert.same({
      "spec/a_spec.lua:5: a thing later (pending)", "spec/a_spec.lua:3: a thing fails",
      "    spec/a_spec.lua:3: Expected objects to be equal.",
      "    Passed in:", "    (number) 1", "    Expected:", "    (number) 2",
      "spec/a_spec.lua:7: a thing breaks in its setup", "    spec/a_spec.lua:7: boo",
      "sanitizer: build/test-log/sanitizer/report.12:",
      "    12 spec/a_spec.lua:3", "    ==12==ERROR: AddressSanitizer: heap-use-after-free",
      "spec/b_spec.lua:0: it ended with status 139",
    }, failed("busted", [[
+-*.
  spec/a_spec.lua: 0.0 s

1 success / 1 failure / 1 error / 1 pending : 0.003982 seconds

Pending -> spec/a_spec.lua @ 5
a thing later

Failure -> spec/a_spec.lua @ 3
a thing fails
spec/a_spec.lua:3: Expected objects to be equal.
Passed in:
(number) 1
Expected:
(number) 2

stack traceback:
	spec/a_spec.lua:3: in function <spec/a_spec.lua:2>

Error → spec/a_spec.lua @ 7
a thing breaks in its setup
spec/a_spec.lua:7: boo
build/test-log/sanitizer/report.12:
12 spec/a_spec.lua:3
==12==ERROR: AddressSanitizer: heap-use-after-free
== spec/b_spec.lua
++
0 successes / 0 failures / 1 error / 0 pending

Error -> spec/b_spec.lua @ 0
it ended with status 139
== spec/c_spec.lua
+++
]]))
  end)

  it("those that count themselves say which", function()
    assert.same({ "counts: 3", "drain" },
      failed("lines", "passes: failed: no\nfailed: counts: 3\nfailed: drain\n1 passed, 2 failed\n"))
  end)

  it("where it stopped is told when none is named", function()
    local stopped = "no test is named; it stopped at: "
    assert.same({ stopped .. "seed 7: an offset was passed" },
      failed("one", "seed 6\nseed 7: an offset was passed\n\n"))
    assert.same({ stopped .. "++++" }, failed("busted", "  spec/a_spec.lua: 1.0 s\n++++"))
    assert.same({ stopped .. "an empty log" }, failed("cmocka", ""))
  end)
end)
