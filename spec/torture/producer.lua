-- The producer's torture, by scripts/torture producer: RUNS lives of SENDS
-- records each on a mock cluster whose brokers go and come back; beside three
-- real brokers, of which one at a time is killed KILLS times, RECORDS records.
-- Each ends with its figures; the last line is "N passed, N failed".
local helper = require "spec.support.helper"

local seed = tonumber(os.getenv "SEED") or os.time()
local variants = {}

function variants.mock()
  local sends = require "spec.torture.sends"
  local runs, most = tonumber(os.getenv "RUNS") or 200, tonumber(os.getenv "SENDS") or 1000000
  local sum = { accepted = 0, delivered = 0, failed = 0, purged = 0, uncertain = 0, renewed = 0, wrong = 0 }
  for run = 1, runs do
    local book = sends.run(seed + run, most)
    for name in pairs(sum) do
      sum[name] = sum[name] + (name == "wrong" and #book.wrong or book[name])
    end
    print(("run %d: %d accepted, %d delivered, %d failed (%d may be written), %d given up, %d clients")
      :format(run, book.accepted, book.delivered, book.failed, book.uncertain, book.purged,
        book.renewed + 1))
    for i = 1, math.min(5, #book.wrong) do print("  " .. book.wrong[i]) end
  end
  for _, name in ipairs { "accepted", "delivered", "failed", "purged", "renewed", "wrong" } do
    print(("figure producer_%s %d"):format(name, sum[name]))
  end
  return sum.wrong == 0
end

function variants.cluster()
  local killed = require "spec.torture.killed"
  local result = killed.run(seed, tonumber(os.getenv "KILLS") or 30,
    tonumber(os.getenv "RECORDS") or 200000, print)
  for _, name in ipairs(killed.FIGURES) do
    print(("figure producer_cluster_%s %d"):format(name, result[name]))
  end
  return killed.is_well(result)
end

io.stdout:setvbuf "line"
print("seed " .. seed)
local passed, failed = 0, 0
for _, name in ipairs(arg) do
  local ok, well = xpcall(variants[name], debug.traceback)
  if not ok then print(well) end
  if ok and well then passed = passed + 1
  else
    failed = failed + 1
    print("failed: " .. name)
  end
end
helper.end_children()
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and 0 or 1)
