-- wrk.lua: requests at a calm rate, ten connections of about a hundred a second each (wrk -s)
--
-- wrk's own clock begins when a request is sent, after its delay. Errors of sockets, time-outs and
-- status codes of 400 and more are counted.

function delay() return math.random(1, 19) end -- milliseconds

function done(summary, latency)
  local failed = 0
  for _, count in pairs(summary.errors) do failed = failed + count end
  io.write(("requests %d\nfailed %d\np50_us %d\np99_us %d\nmax_us %d\n"):format(summary.requests,
    failed, latency:percentile(50), latency:percentile(99), latency.max))
end
