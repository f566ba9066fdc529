-- report.lua: what the samples of bench/run say
--
--   report.lua show RESULTS            facts, tables and figures
--   report.lua page RESULTS PAGE       the tables, between the page's two markers
--   report.lua readme RESULTS README   five figures, between README's two markers
--   report.lua picture RESULTS SVG     by gnuplot
--
-- A line of RESULTS is "fact NAME VALUE" or "CELL ROUND PEER NAME VALUE NAME
-- VALUE...", with tabs between the first ones. A ratio or a difference is
-- made within a round; then comes the median.

-- Samples -----------------------------------------------------------------------

local function split(text, pattern)
  local parts = {}
  for part in text:gmatch(pattern) do parts[#parts + 1] = part end
  return parts
end

-- strand and raw print what they counted, Java its own ratios.
local function derive(values)
  if values.records_per_second then
    values.rate = values.records_per_second
    values.cpu_us = values.cpu_seconds_per_record * 1e6
  elseif values.records and values.seconds then
    values.rate = values.records / values.seconds
    values.cpu_us = values.cpu and values.cpu * 1e6 / values.records
    values.lua_us = values.lua_cpu and values.lua_cpu * 1e6 / values.records
    values.all_us = values.all_cpu and values.all_cpu * 1e6 / values.all_records
  end
  return values
end

local function load_results(path)
  local results = { facts = {}, cells = {} }
  for line in io.lines(path) do
    local parts = split(line, "[^\t]+")
    if parts[1] == "fact" then
      results.facts[#results.facts + 1] = { parts[2], parts[3] }
      results.facts[parts[2]] = parts[3]
    else
      local values = {}
      for name, value in parts[4]:gmatch "(%S+) (%S+)" do values[name] = tonumber(value) end
      local cell = results.cells[parts[1]] or {}
      results.cells[parts[1]] = cell
      cell[parts[3]] = cell[parts[3]] or {}
      cell[parts[3]][tonumber(parts[2])] = derive(values)
    end
  end
  return results
end

local function median(list)
  if #list == 0 then return nil end
  table.sort(list)
  local half = math.floor(#list / 2)
  if #list % 2 == 1 then return list[half + 1] end
  return (list[half] + list[half + 1]) / 2
end

-- The median of what 'of' makes of each round; it calls get(cell, peer, name),
-- and a round that lacks something does not count.
local function over_rounds(results, of)
  local list, missing = {}, {}
  for round = 1, tonumber(results.facts.rounds) do
    local function get(cell, peer, name)
      local value = ((results.cells[cell] or {})[peer] or {})[round]
      value = value and value[name]
      if not value then error(missing, 0) end
      return value
    end
    local ok, value = pcall(of, get)
    if ok then list[#list + 1] = value elseif value ~= missing then error(value, 0) end
  end
  return median(list)
end

-- Figures -----------------------------------------------------------------------

local function cpu_ratio(cell)
  return function(get) return get(cell, "strand", "cpu_us") / get(cell, "raw", "cpu_us") end
end

local function rate_ratio(cell)
  return function(get) return get(cell, "strand", "rate") / get(cell, "raw", "rate") end
end

local function better_java(get)
  return math.max(get("java", "key_16", "rate"), get("java", "key_100", "rate"))
end

local function extra_ms(cell, peer, other, name)
  return function(get) return (get(cell, peer, name) - get(cell, other, name)) / 1000 end
end

-- Percent more with a deadline: the median of five turns.
local function deadline_cost(handler)
  return function(get)
    local list = {}
    for pair = 1, 5 do
      local function cpu(peer)
        return get("deadline", ("%s_%s_%d"):format(handler, peer, pair), "cpu_us")
      end
      list[pair] = (cpu "with" / cpu "without" - 1) * 100
    end
    return median(list)
  end
end

local function healthy_ratio(peer)
  return function(get) return get("poison", peer, "rate") / get("poison", "none", "rate") end
end

local function value_of(cell, peer, name, factor)
  return function(get) return get(cell, peer, name) * (factor or 1) end
end

local function base_ratio(cell, name)
  return function(get) return get(cell, "strand", name) / get("base", "strand", name) end
end

local function of_a_record(name)
  return function(get)
    return get("instructions", "without", name) / get("instructions", "without", "records")
  end
end

local function partitions_ratio(cell)
  return function(get) return cpu_ratio(cell)(get) / cpu_ratio("base")(get) end
end

local function send_ratio(peer, other, name)
  return function(get) return get("send", peer, name) / get("send", other, name) end
end

local function outputs_ratio(peer, other)
  return function(get) return get("outputs", peer, "rate") / get("outputs", other, "rate") end
end

local IDEAL = 50000 -- records/s: 5,000 at once, 100 ms each

local function in_flight_ideal(loop)
  return function(get) return get("in_flight", loop .. "_lua5.4", "rate") / IDEAL end
end

local function in_flight_cpu(loop, lua)
  return function(get)
    return get("in_flight", ("%s_%s"):format(loop, lua), "lua_us")
      / get("in_flight", ("bare_%s_%s"):format((loop:gsub("^async_", "")), lua), "lua_us")
  end
end

-- Of async workers the loop that is dearer beside itself alone.
local function async_cpu(lua)
  local cqueues, luv = in_flight_cpu("async_cqueues", lua), in_flight_cpu("async_luv", lua)
  return function(get) return math.max(cqueues(get), luv(get)) end
end

local function async_ideal(get)
  return math.min(in_flight_ideal "async_cqueues"(get), in_flight_ideal "async_luv"(get))
end

local function in_flight_growth(name)
  return function(get)
    return get("in_flight", "cqueues_50000_lua5.4", name)
      / get("in_flight", "cqueues_5000_lua5.4", name)
  end
end

local function waiting_bytes(loop)
  return function(get)
    local function bytes(count)
      return get("in_flight", ("%s_waiting_%d_lua5.4"):format(loop, count), "bytes")
    end
    return (bytes(50000) - bytes(1000)) / 49000
  end
end

local function local_empty(get)
  local most = 0
  for _, loop in ipairs { "none", "cqueues", "luv" } do
    most = math.max(most, get("in_flight", loop .. "_empty_lua5.4", "all_us"))
  end
  return most / get("in_flight", "threads_empty", "cpu_us")
end

local function local_idle(get)
  local most = 0
  for _, loop in ipairs { "none", "cqueues", "luv" } do
    most = math.max(most, get("in_flight", loop .. "_idle", "cpu"))
  end
  return (most - get("in_flight", "raw_idle", "cpu")) / get("in_flight", "raw_idle", "seconds") * 100
end

-- Of its pairs of turns the median.
local function nginx_http(name)
  return function(get)
    local list = {}
    for pair = 1, 7 do
      list[pair] = (get("nginx", "with_" .. pair, name) - get("nginx", "without_" .. pair, name)) / 1000
    end
    return median(list)
  end
end

local function nginx_ratio(peer, other, name)
  return function(get) return get("nginx", peer, name) / get("nginx", other, name) end
end

-- name, what it is, bar, how it is made of a round
local FIGURES = {
  { "throughput_vs_java", "base cell, records/s over the better of Java's KEY 16 and 100",
    "at least 15", function(get) return get("base", "strand", "rate") / better_java(get) end },
  { "cpu_ratio_empty", "base cell, CPU a record over the raw loop's", "at most 1.3",
    cpu_ratio "base" },
  { "cpu_ratio_fields", "the same, the handler reads three fields", "at most 1.8",
    cpu_ratio "fields" },
  { "throughput_ratio_empty", "base cell, records/s over the raw loop's", "",
    rate_ratio "base" },
  { "throughput_ratio_fields", "the same, the handler reads three fields", "",
    rate_ratio "fields" },
  { "cpu_ratio_partitions_1", "1 partition: that ratio over the base cell's", "",
    partitions_ratio "partitions_1" },
  { "cpu_ratio_partitions_200", "200 partitions: that ratio over the base cell's",
    "0.9 to 1.1", partitions_ratio "partitions_200" },
  { "cpu_keys_1000000", "1,000,000 keys: CPU a record over the base cell's", "at most 1.3",
    base_ratio("keys_1000000", "cpu_us") },
  { "throughput_keys_10", "10 keys: records/s over the base cell's", "at least 0.5",
    base_ratio("keys_10", "rate") },
  { "batch_vs_java", "batches of 100, 16 at once, records/s over Java's", "at least 5",
    function(get) return get("batch", "strand", "rate") / get("batch", "java", "rate") end },
  { "deadline_cost_percent_empty", "base cell, CPU a record with a deadline, beyond without",
    "below 2", deadline_cost "empty" },
  { "deadline_cost_percent_fields", "the same, the handler reads three fields", "below 2",
    deadline_cost "fields" },
  { "deadline_cost_instructions_percent", "base cell, instructions in workers", "",
    function(get)
      return (get("instructions", "with", "instructions")
        / get("instructions", "without", "instructions") - 1) * 100
    end },
  { "owner_instructions", "base cell, instructions of the owner's thread a record", "",
    of_a_record "owner" },
  { "owner_instructions_strand", "of these, strand's own: without librdkafka and libc", "",
    of_a_record "owner_strand" },
  { "poison_healthy_ratio", "a tenth of the keys fails for ever, at once: records/s of the "
    .. "others, over a run without that tenth", "at least 0.95", healthy_ratio "at_once" },
  { "poison_slow_ratio", "the same, to fail takes 2 ms of a worker too", "",
    healthy_ratio "slowly" },
  { "poison_one_partition_ratio", "that tenth in one partition, which is blocked, alone", "",
    healthy_ratio "one" },
  { "ideal_2ms", "100 workers that sleep 2 ms, over 100 bare threads that do", "at least 0.97",
    function(get) return get("sleep", "strand", "rate") / get("sleep", "threads", "rate") end },
  { "sleep_partitions_1", "16 workers that sleep 2 ms: 1 partition over 8", "0.95 to 1.05",
    function(get)
      return get("sleep_partitions", "strand_1", "rate")
        / get("sleep_partitions", "strand_8", "rate")
    end },
  { "latency_p50_extra_ms", "1,000/s, produce to handler: over the raw loop beside it",
    "at most 0.3", extra_ms("latency_1k", "strand", "raw", "p50_us") },
  { "latency_p99_extra_ms", "the same at the 99th percentile", "at most 1",
    extra_ms("latency_1k", "strand", "raw", "p99_us") },
  { "latency_p50_extra_10k_ms", "10,000/s", "at most 0.3",
    extra_ms("latency_10k", "strand", "raw", "p50_us") },
  { "latency_p99_extra_10k_ms", "10,000/s at the 99th percentile", "at most 1",
    extra_ms("latency_10k", "strand", "raw", "p99_us") },
  { "latency_p99_stuck_extra_ms", "p99 beside a handler that sleeps 10 s, over a twin without",
    "at most 1", extra_ms("stuck", "stuck", "twin", "p99_us") },
  { "retry_min_ms", "a retry delay of 10 ms: the shortest", "at least 10",
    value_of("retry", "strand", "min_us", 1e-3) },
  { "retry_p99_ms", "the same at the 99th percentile", "at most 12",
    value_of("retry", "strand", "p99_us", 1e-3) },
  { "idle_extra_core_percent", "idle for 10 s, percent of a core above the raw loop beside it",
    "at most 0.1", function(get)
      return (get("idle", "strand", "cpu") - get("idle", "raw", "cpu"))
        / get("idle", "raw", "seconds") * 100
    end },
  { "send_rate_vs_raw", "send with counted reports, 100 B: records/s over a raw producev loop's",
    "at least 0.7", send_ratio("strand", "raw", "rate") },
  { "send_cpu_vs_raw", "the same, CPU a record", "at most 1.5",
    send_ratio("strand", "raw", "cpu_us") },
  { "send_reports_cpu_vs_raw", "the same with on_delivery", "at most 1.9",
    send_ratio("reports", "raw", "cpu_us") },
  { "send_rate_vs_raw_1k", "send, 1 kB: records/s over a raw producev loop's", "at least 0.7",
    send_ratio("strand_1k", "raw_1k", "rate") },
  { "send_cpu_vs_raw_1k", "the same, CPU a record", "at most 1.5",
    send_ratio("strand_1k", "raw_1k", "cpu_us") },
  { "send_rate_vs_java", "send, 100 B: records/s over the Java producer's, warmed",
    "at least 0.8", send_ratio("strand", "java", "rate") },
  { "send_rate_vs_java_first", "the same over its first third", "at least 1",
    function(get) return get("send", "strand", "rate") / get("send", "java", "first_per_second") end },
  { "send_cpu_vs_java", "send, 100 B: CPU a record over the Java producer's, warmed", "at most 1",
    send_ratio("strand", "java", "cpu_us") },
  { "outputs_vs_java", "a record produced for each, records/s over Java's pollAndProduce, warmed",
    "at least 10", outputs_ratio("strand", "java") },
  { "outputs_vs_raw", "the same over a raw loop that polls and sends on", "at least 0.4",
    outputs_ratio("strand", "raw") },
  { "eos_vs_at_least_once", "the same exactly once, transactions of 50,000, over at least once",
    "at least 0.85", outputs_ratio("eos", "strand") },
  { "eos_10000_vs_at_least_once", "the same, transactions of 10,000 (the default)", "",
    outputs_ratio("eos_10000", "strand") },
  { "eos_vs_java", "those of 50,000 over Java's transactions, each 0.5 s", "at least 8",
    outputs_ratio("eos", "java_eos") },
  { "outputs_hot_key_per_second", "the same, all of one key, records/s", "at least 20,000",
    value_of("outputs", "hot", "rate") },
  { "amo_slowdown", "the same, at least once: records/s over at most once's", "at most 1.3",
    outputs_ratio("strand", "once") },
  { "transaction_p50_ms", "exactly once, a commit of 1,000 outputs 0.5 s after the last: p50",
    "at most 60", value_of("outputs", "commits", "p50_ms") },
  { "takeover_s", "exactly once, started again after a crash in a transaction: from "
    .. "init_transactions to the first record", "at most 2",
    value_of("outputs", "takeover", "takeover_s") },
  { "bytes_per_buffered_record", "beyond key, value and headers; 1 M behind a stuck key",
    "at most 100", function(get)
      return math.max(get("memory", "engine", "behind_running"),
        get("memory", "engine", "behind_failed"), get("memory", "engine", "other_keys"))
    end },
  { "stuck_tracking_bytes", "10 M done records behind a stuck one", "under 1,000",
    value_of("memory", "engine", "tracking_bytes") },
  { "stuck_payload_chars", "and 4,000 more, of which a random half is done", "under 1,000",
    value_of("memory", "engine", "payload_chars") },
  { "in_flight_5000_ideal_cqueues", "local mode on cqueues, 5,000 in flight at 100 ms: records/s "
    .. "over the ideal 50,000", "at least 0.95", in_flight_ideal "cqueues" },
  { "in_flight_5000_ideal_luv", "the same on luv", "at least 0.95", in_flight_ideal "luv" },
  { "in_flight_5000_ideal_async", "the same in two async workers, the slower of the two loops",
    "at least 0.95", async_ideal },
  { "in_flight_5000_vs_java", "that on cqueues, records/s over Java's with 5,000 threads", "",
    function(get)
      return get("in_flight", "cqueues_lua5.4", "rate") / get("in_flight", "java", "rate")
    end },
  { "in_flight_cpu_vs_bare_cqueues", "the same, CPU of the Lua thread over that of as many "
    .. "bare coroutines that sleep", "at most 2", in_flight_cpu("cqueues", "lua5.4") },
  { "in_flight_cpu_vs_bare_cqueues_luajit", "the same under LuaJIT", "at most 2",
    in_flight_cpu("cqueues", "luajit2") },
  { "in_flight_cpu_vs_bare_luv", "on luv", "at most 2", in_flight_cpu("luv", "lua5.4") },
  { "in_flight_cpu_vs_bare_luv_luajit", "on luv under LuaJIT", "at most 2",
    in_flight_cpu("luv", "luajit2") },
  { "in_flight_cpu_vs_bare_async", "two async workers, CPU of their threads, the dearer of the "
    .. "two loops", "at most 2", async_cpu "lua5.4" },
  { "in_flight_cpu_vs_bare_async_luajit", "the same under LuaJIT", "at most 2",
    async_cpu "luajit2" },
  { "in_flight_50000_cpu_growth", "50,000 in flight at 1 s, CPU of the Lua thread over that of "
    .. "5,000 at 100 ms", "at most 1.25", in_flight_growth "lua_us" },
  { "in_flight_50000_rate", "the same, records/s", "at least 0.75", in_flight_growth "rate" },
  { "local_empty_cpu_vs_threads", "an empty handler in local mode, the dearest loop: CPU a record "
    .. "over the base cell's threads", "at most 2.5", local_empty },
  { "local_idle_extra_core_percent", "local mode idle for 10 s, the dearest loop: percent of a core "
    .. "above the raw loop beside it", "at most 0.1", local_idle },
  { "waiting_handler_bytes", "what each handler that waits takes, local mode without a loop",
    "at most 1,536", waiting_bytes "none" },
  { "waiting_handler_bytes_cqueues", "the same on cqueues", "", waiting_bytes "cqueues" },
  { "waiting_bare_bytes_cqueues", "a bare coroutine that sleeps there", "",
    value_of("in_flight", "bare_cqueues_waiting_lua5.4", "bytes") },
  { "waiting_handler_bytes_luv", "on luv", "", waiting_bytes "luv" },
  { "waiting_bare_bytes_luv", "a bare coroutine that sleeps there", "",
    value_of("in_flight", "bare_luv_waiting_lua5.4", "bytes") },
  { "waiting_handler_bytes_async_cqueues", "the same in an async worker, on cqueues", "",
    waiting_bytes "async_cqueues" },
  { "waiting_handler_bytes_async_luv", "on luv", "", waiting_bytes "async_luv" },
  { "nginx_http_p99_extra_ms", "nginx, HTTP's p99 beside 20,000 records/s in the same worker, beyond "
    .. "a worker without a consumer", "at most 1", nginx_http "p99_us" },
  { "nginx_in_flight_5000_ideal", "nginx, 5,000 in flight at 100 ms: records/s over the ideal 50,000",
    "at least 0.95", function(get) return get("nginx", "consumer", "rate") / IDEAL end },
  { "nginx_in_flight_cpu_vs_bare", "the same, CPU of the worker's thread over that of as many bare "
    .. "light threads that sleep once and end", "at most 2",
    nginx_ratio("consumer", "once", "lua_us") },
  { "nginx_in_flight_cpu_vs_again", "the same over light threads that sleep again and again", "",
    nginx_ratio("consumer", "again", "lua_us") },
  { "nginx_keepalive_cpu_growth", "nginx, a keepalive Redis call each: CPU of the worker's thread a "
    .. "call, 5,000 in flight over 100", "at most 2", nginx_ratio("redis_5000", "redis_100", "lua_us") },
  { "nginx_producer_rate_vs_resty", "nginx, send with counted reports, 100 B: records/s over "
    .. "lua-resty-kafka's", "at least 1.5", nginx_ratio("strand", "resty", "rate") },
  { "nginx_producer_cpu_vs_resty", "the same, CPU a record of the worker", "at most 0.75",
    nginx_ratio("strand", "resty", "cpu_us") },
  { "nginx_producer_reports_rate_vs_resty", "with on_delivery, records/s", "",
    nginx_ratio("reports", "resty", "rate") },
  { "nginx_producer_reports_cpu_vs_resty", "with on_delivery, CPU a record", "",
    nginx_ratio("reports", "resty", "cpu_us") },
}

-- Three digits, never as 1e+06.
local function short(value)
  local size = math.abs(value)
  if size >= 100 then return ("%.0f"):format(value) end
  if size >= 10 then return ("%.1f"):format(value) end
  return ("%.2f"):format(value)
end

local function exact(value)
  return value == math.floor(value) and ("%.0f"):format(value) or ("%.3f"):format(value)
end

local function each_figure(results, visit)
  for _, figure in ipairs(FIGURES) do
    local value = over_rounds(results, figure[4])
    if value then visit(figure, value) end
  end
end

-- Tables ------------------------------------------------------------------------

local READS = {
  { "base", "base cell" }, { "partition", "order by partition" },
  { "unordered", "unordered" }, { "fields", "reads key, value, offset" },
  { "workers_1", "1 worker" }, { "workers_16", "16 workers" }, { "keys_10", "10 keys" },
  { "keys_1000000", "1,000,000 keys" }, { "partitions_1", "1 partition" },
  { "partitions_200", "200 partitions" },
}
local JAVA = {
  { "java", "key_16", "Java, KEY, 16 at once" },
  { "java", "key_100", "Java, KEY, 100 at once" },
  { "batch", "java", "Java, KEY, batches of 100, 16 at once" },
  { "batch", "strand", "strand, batches of 100, 16 workers" },
}
local POISON = {
  { "poison", "none", "no poison" }, { "poison", "at_once", "a tenth fails at once" },
  { "poison", "slowly", "a tenth fails after 2 ms" },
  { "poison", "one", "a tenth fails at once, in one partition" },
}
local SLEEPS = {
  { "sleep", "threads", "100 bare threads" }, { "sleep", "strand", "strand, 100 workers" },
  { "sleep", "java", "Java, KEY, 100 at once" },
  { "sleep_partitions", "strand_8", "strand, 16 workers, 8 partitions" },
  { "sleep_partitions", "strand_1", "strand, 16 workers, 1 partition" },
}
local SENDS = {
  { "send", "raw", "raw producev loop, 100 B" }, { "send", "strand", "strand, 100 B" },
  { "send", "reports", "strand with on_delivery, 100 B" },
  { "send", "java", "Java, 100 B, warmed" }, { "send", "raw_1k", "raw producev loop, 1 kB" },
  { "send", "strand_1k", "strand, 1 kB" },
  { "send", "reports_1k", "strand with on_delivery, 1 kB" },
  { "send", "java_1k", "Java, 1 kB, warmed" },
}
local OUTPUTS = {
  { "outputs", "raw", "raw loop that polls and sends on" }, { "outputs", "strand", "strand" },
  { "outputs", "eos", "strand, exactly once, transactions of 50,000" },
  { "outputs", "eos_10000", "strand, exactly once, transactions of 10,000" },
  { "outputs", "java_eos", "Java, in transactions, 100 at once, warmed" },
  { "outputs", "once", "strand, at most once" }, { "outputs", "hot", "strand, one key" },
  { "outputs", "java", "Java, pollAndProduce, 100 at once, warmed" },
}
local IN_FLIGHT = {
  { "in_flight", "new_cqueues_lua5.4", "cqueues alone, 5,000 at 100 ms, new coroutines" },
  { "in_flight", "bare_cqueues_lua5.4", "cqueues alone, 5,000 at 100 ms" },
  { "in_flight", "cqueues_lua5.4", "strand on cqueues, 5,000 at 100 ms" },
  { "in_flight", "async_cqueues_lua5.4", "the same in two async workers" },
  { "in_flight", "new_luv_lua5.4", "luv alone, 5,000 at 100 ms, new coroutines" },
  { "in_flight", "bare_luv_lua5.4", "luv alone, 5,000 at 100 ms" },
  { "in_flight", "luv_lua5.4", "strand on luv, 5,000 at 100 ms" },
  { "in_flight", "async_luv_lua5.4", "the same in two async workers" },
  { "in_flight", "new_cqueues_luajit2", "LuaJIT: cqueues alone, 5,000 at 100 ms, new coroutines" },
  { "in_flight", "bare_cqueues_luajit2", "LuaJIT: cqueues alone, 5,000 at 100 ms" },
  { "in_flight", "cqueues_luajit2", "LuaJIT: strand on cqueues, 5,000 at 100 ms" },
  { "in_flight", "async_cqueues_luajit2", "LuaJIT: the same in two async workers" },
  { "in_flight", "new_luv_luajit2", "LuaJIT: luv alone, 5,000 at 100 ms, new coroutines" },
  { "in_flight", "bare_luv_luajit2", "LuaJIT: luv alone, 5,000 at 100 ms" },
  { "in_flight", "luv_luajit2", "LuaJIT: strand on luv, 5,000 at 100 ms" },
  { "in_flight", "async_luv_luajit2", "LuaJIT: the same in two async workers" },
  { "in_flight", "java", "Java, KEY, 5,000 threads at 100 ms" },
  { "in_flight", "bare_5000_lua5.4", "100,000 keys: cqueues alone, 5,000 at 100 ms" },
  { "in_flight", "cqueues_5000_lua5.4", "100,000 keys: strand on cqueues, 5,000 at 100 ms" },
  { "in_flight", "bare_10000_lua5.4", "cqueues alone, 10,000 at 200 ms" },
  { "in_flight", "cqueues_10000_lua5.4", "strand on cqueues, 10,000 at 200 ms" },
  { "in_flight", "bare_50000_lua5.4", "cqueues alone, 50,000 at 1 s" },
  { "in_flight", "cqueues_50000_lua5.4", "strand on cqueues, 50,000 at 1 s" },
  { "in_flight", "cqueues_full_lua5.4", "strand on cqueues, 50,000 at 100 ms" },
  { "in_flight", "threads_empty", "empty handler, 4 worker threads" },
  { "in_flight", "none_empty_lua5.4", "empty handler, local mode, no loop" },
  { "in_flight", "cqueues_empty_lua5.4", "empty handler, on cqueues" },
  { "in_flight", "luv_empty_lua5.4", "empty handler, on luv" },
  { "in_flight", "none_paced", "20,000/s, local mode, no loop" },
  { "in_flight", "cqueues_paced", "20,000/s, on cqueues" },
  { "in_flight", "luv_paced", "20,000/s, on luv" },
}
local NGINX = {
  { "nginx", "once", "5,000 bare light threads, 100 ms each, that sleep once and end" },
  { "nginx", "again", "5,000 that sleep again and again" },
  { "nginx", "consumer", "strand, 5,000 in flight at 100 ms" },
  { "nginx", "redis_100", "strand, a keepalive Redis call each, 100 in flight" },
  { "nginx", "redis_5000", "the same, 5,000 in flight" },
  { "nginx", "resty", "lua-resty-kafka, async producer, 100 B" },
  { "nginx", "strand", "strand's producer, 100 B" },
  { "nginx", "reports", "strand's producer with on_delivery, 100 B" },
}
local FAULTS = {
  { "stop", "nginx is stopped right after 50,000 sends" }, { "quit", "nginx quits right after them" },
  { "quit_away", "nginx quits, the broker is away" },
  { "away", "the broker is away for 0.5 s and 2 s at 5,000/s" },
  { "lost_acks", "nine acknowledgements are lost" },
  { "late_acks", "acknowledgements are 4 s late" }, { "large", "2,000 records of 8 kB at once" },
  { "one_large", "one of 1.5 MB among 100" }, { "nil_value", "a nil value among 200" },
  { "shared", "8 light threads share a producer, and wait for each" },
  { "kafka4", "Kafka 4.1.1" },
}
local LATENCIES = {
  { "latency_1k", "raw", "1,000/s, raw loop" }, { "latency_1k", "strand", "1,000/s, strand" },
  { "latency_1k", "java", "1,000/s, Java, by itself" },
  { "latency_10k", "raw", "10,000/s, raw loop" },
  { "latency_10k", "strand", "10,000/s, strand" },
  { "latency_10k", "java", "10,000/s, Java, by itself" },
  { "stuck", "twin", "1,000/s, strand, twin of the next" },
  { "stuck", "stuck", "1,000/s, strand, a handler sleeps for 10 s" },
}

local function number(results, cell, peer, name, factor)
  return over_rounds(results, value_of(cell, peer, name, factor))
end

local function thousands(value)
  return value and short(value / 1000) .. " k" or ""
end

local function maybe(value) return value and short(value) or "" end

-- Appends the table, unless it would be empty.
local function append(out, head, rows)
  if #rows == 0 then return end
  out[#out + 1] = "| " .. table.concat(head, " | ") .. " |"
  out[#out + 1] = ("|---"):rep(#head) .. "|"
  for _, row in ipairs(rows) do out[#out + 1] = "| " .. table.concat(row, " | ") .. " |" end
  out[#out + 1] = ""
end

local function read_rows(results)
  local rows = {}
  for _, read in ipairs(READS) do
    local cell = read[1]
    if results.cells[cell] then
      rows[#rows + 1] = { read[2], thousands(number(results, cell, "strand", "rate")),
        maybe(number(results, cell, "strand", "cpu_us")),
        thousands(number(results, cell, "raw", "rate")),
        maybe(number(results, cell, "raw", "cpu_us")),
        maybe(over_rounds(results, rate_ratio(cell))),
        maybe(over_rounds(results, cpu_ratio(cell))) }
    end
  end
  return rows
end

local function listed(results, list, ...)
  local rows = {}
  for _, line in ipairs(list) do
    if results.cells[line[1]] and results.cells[line[1]][line[2]] then
      local row = { line[3] }
      for _, column in ipairs { ... } do
        row[#row + 1] = column(results, line[1], line[2])
      end
      rows[#rows + 1] = row
    end
  end
  return rows
end

local function rate_column(results, cell, peer)
  return thousands(number(results, cell, peer, "rate"))
end

local function value_column(name)
  return function(results, cell, peer) return maybe(number(results, cell, peer, name)) end
end

local function base_rate_column(results, cell, peer)
  return maybe(over_rounds(results, function(get)
    return get("base", "strand", "rate") / get(cell, peer, "rate")
  end))
end

local function base_cpu_column(results, cell, peer)
  return maybe(over_rounds(results, function(get)
    return get(cell, peer, "cpu_us") / get("base", "strand", "cpu_us")
  end))
end

local function failed_column(results, cell, peer)
  return maybe(over_rounds(results, function(get)
    return get(cell, peer, "failed") / get(cell, peer, "seconds")
  end))
end

local function ms_column(name)
  return function(results, cell, peer)
    return maybe(number(results, cell, peer, name, 1e-3))
  end
end

-- A row for each pair; and one for each fault and peer.
local function http_rows(results)
  local rows = {}
  for pair = 1, 7 do
    local row = { tostring(pair) }
    for _, peer in ipairs { "without_", "with_" } do
      for _, name in ipairs { "p50_us", "p99_us" } do
        row[#row + 1] = maybe(number(results, "nginx", peer .. pair, name, 1e-3))
      end
    end
    if #(row[2]) > 0 then rows[#rows + 1] = row end
  end
  return rows
end

local function fault_rows(results)
  local rows = {}
  for _, fault in ipairs(FAULTS) do
    for _, peer in ipairs { "strand", "resty" } do
      local row = { fault[2], peer == "resty" and "lua-resty-kafka" or peer }
      for _, name in ipairs { "sent", "arrived", "told", "untold", "wrong", "doubled", "inversions" } do
        local value = number(results, "nginx_faults", fault[1] .. "_" .. peer, name)
        row[#row + 1] = value and ("%.0f"):format(value)
      end
      if #row > 2 then rows[#rows + 1] = row end
    end
  end
  return rows
end

local function facts(results)
  local f = results.facts
  return ("%s, %s cores, %s; load of others before it: %s. strand %s, librdkafka %s, %s; "
    .. "%s, %s; Kafka %s. %s, %s records of 100 bytes, rounds: %s."):format(f.cpu, f.cores,
    f.kernel, f.load, f.strand, f.librdkafka, f.lua, f.peer, f.java, f.kafka, f.date,
    f.records, f.rounds)
end

-- Lines of Markdown.
local function tables(results)
  local out = { facts(results), "" }
  append(out, { "Reading", "strand, records/s", "CPU us/record", "raw loop, records/s",
    "CPU us/record", "rate/raw", "CPU/raw" }, read_rows(results))
  append(out, { "The same topic", "records/s", "CPU us/record", "base cell's rate over it",
    "its CPU over the base cell's" }, listed(results, JAVA, rate_column,
    value_column "cpu_us", base_rate_column, base_cpu_column))
  append(out, { "Sending", "records/s", "CPU us/record" },
    listed(results, SENDS, rate_column, value_column "cpu_us"))
  append(out, { "A record produced for each", "records/s", "CPU us/record" },
    listed(results, OUTPUTS, rate_column, value_column "cpu_us"))
  append(out, { "Handlers that sleep 2 ms", "records/s" },
    listed(results, SLEEPS, rate_column))
  append(out, { "Many in flight, local mode, middle of the run", "records/s",
    "CPU us/record, Lua's thread", "of the process" },
    listed(results, IN_FLIGHT, rate_column, value_column "lua_us", value_column "cpu_us"))
  append(out, { "16 workers that sleep 2 ms, keys that fail for ever",
    "records/s of the others", "failures/s" },
    listed(results, POISON, rate_column, failed_column))
  append(out, { "Latency, ms", "p50", "p99", "most" },
    listed(results, LATENCIES, ms_column "p50_us", ms_column "p99_us", ms_column "max_us"))
  append(out, { "HTTP in nginx, ms; pair", "p50 without a consumer", "p99", "p50 with one", "p99" },
    http_rows(results))
  append(out, { "In nginx", "records/s", "CPU us/record, the worker's thread", "of the worker" },
    listed(results, NGINX, rate_column, value_column "lua_us", value_column "cpu_us"))
  append(out, { "Producers in nginx", "", "sent", "arrived", "told to be lost", "lost untold",
    "told, and there", "doubled", "out of order" }, fault_rows(results))
  local rows = {}
  each_figure(results, function(figure, value)
    rows[#rows + 1] = { "`" .. figure[1] .. "`", short(value), figure[3], figure[2] }
  end)
  append(out, { "Figure", "Measured", "Bar", "What it is" }, rows)
  return out
end

-- What README tells of the figures, and how.
local SHOWN = {
  { "throughput_vs_java", "records/s by key with an empty handler, over the Java parallel consumer's" },
  { "cpu_ratio_empty", "CPU for each of these records, over a raw librdkafka loop's" },
  { "ideal_2ms", "records/s of 100 workers that wait 2 ms for each, over 100 bare threads'" },
  { "poison_healthy_ratio", "records/s of the others while a tenth of the keys always fails, "
    .. "over a run without that tenth" },
  { "latency_p99_extra_ms", "ms from produce to handler at the 99th percentile, beyond a raw "
    .. "loop's, at 1,000 records/s" },
}

local function summary(results)
  local out, values, rows = {}, {}, {}
  each_figure(results, function(figure, value) values[figure[1]] = value end)
  for _, shown in ipairs(SHOWN) do
    local value = values[shown[1]]
    if value then rows[#rows + 1] = { short(value), shown[2] } end
  end
  append(out, { "Measured", "What it is" }, rows)
  return out
end

-- What is done with them ----------------------------------------------------------

local actions = {}

function actions.show(results)
  print()
  for _, line in ipairs(tables(results)) do print(line) end
  each_figure(results, function(figure, value)
    print(("figure %s %s"):format(figure[1], exact(value)))
  end)
end

local BEGIN, END = "<!-- bench:begin -->\n", "<!-- bench:end -->"

local function write_between(path, lines)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  local _, first = text:find(BEGIN, 1, true)
  local last = text:find(END, 1, true)
  if not (first and last and first < last) then
    error(path .. " has no markers bench:begin and bench:end", 0)
  end
  lines[#lines] = nil -- the empty one
  file = assert(io.open(path, "wb"))
  file:write(text:sub(1, first), table.concat(lines, "\n"), "\n", text:sub(last))
  file:close()
end

function actions.page(results, path) write_between(path, tables(results)) end

function actions.readme(results, path) write_between(path, summary(results)) end

local PICTURE = [[
set terminal svg size 900,420 font "sans-serif,12" background rgb "white"
set output "%s"
set multiplot layout 1,2
set style fill solid
set boxwidth 0.7
set bmargin 9
set yrange [0:*]
set border 3
set tics nomirror scale 0.5
set xtics rotate by -40 scale 0
set title "thousand records/s: by key, empty handler"
unset key
plot $rates using 0:2:3:xtic(1) with boxes lc rgb variable, \
  "" using 0:2:2 with labels offset 0,0.6
set title "CPU microseconds a record"
set key above left Left reverse horizontal
set boxwidth 0.9
set style histogram clustered gap 1
plot $cpu using 2:xtic(1) with histograms title "raw loop" lc rgb "#999999", \
  "" using 3 with histograms title "strand" lc rgb "#1f6fb4"
unset multiplot
]]

local function rate_lines(results)
  local lines = { "$rates << END" }
  local function add(label, cell, peer, colour)
    lines[#lines + 1] = ('"%s" %.0f %d'):format(label,
      (number(results, cell, peer, "rate") or 0) / 1000, colour)
  end
  add("raw loop", "base", "raw", 0x999999)
  add("strand", "base", "strand", 0x1f6fb4)
  add("Java 16", "java", "key_16", 0xd98880)
  add("Java 100", "java", "key_100", 0xd98880)
  add("Java batches", "batch", "java", 0xd98880)
  add("strand batches", "batch", "strand", 0x1f6fb4)
  lines[#lines + 1] = "END"
  return lines
end

local function cpu_lines(results)
  local lines = { "$cpu << END" }
  for _, read in ipairs(READS) do
    lines[#lines + 1] = ('"%s" %.3f %.3f'):format(read[2],
      number(results, read[1], "raw", "cpu_us") or 0,
      number(results, read[1], "strand", "cpu_us") or 0)
  end
  lines[#lines + 1] = "END"
  return lines
end

function actions.picture(results, path)
  local pipe = assert(io.popen("gnuplot", "w"))
  pipe:write(table.concat(rate_lines(results), "\n"), "\n",
    table.concat(cpu_lines(results), "\n"), "\n", PICTURE:format(path))
  assert(pipe:close(), "gnuplot failed")
end

assert(actions[arg[1]], "report.lua show|page|readme|picture RESULTS ...")
actions[arg[1]](load_results(arg[2]), arg[3])
