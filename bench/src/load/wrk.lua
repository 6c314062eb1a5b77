-- Posts the calls of a file (one a line) in turn, and prints the summary as one line of JSON.
-- Arguments: the file, the API key.

local requests = {}
local last = 0

function init(args)
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["X-API-Key"] = args[2]
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, nil, line)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

-- Answers of 400 and above are in errors.status; answers are not looked into one by one, which would cost more than
-- the rest of the request. Durations are microseconds.
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"duration_us":%d,"rejected":%d,"broken":%d,"timeouts":%d,' ..
    '"p50_us":%d,"p90_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max))
end
