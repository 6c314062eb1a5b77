-- Posts the calls of a file (one a line) in turn, and prints the summary as one line of JSON.
-- Arguments: the file, the API key; then, if each post is to have a header with a value of its own, the header's name and
-- a text that no other run has.

local requests = {}
local last = 0
local threads = 0

-- Where the value of the header is put in, and how long it is: 36 characters of the run, 3 of the thread, 9 of the post.
local PLACE = string.rep("#", 48)
local rests = {}
local run
local posts = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  if args[3] then
    wrk.headers[args[3]] = PLACE
    run = string.format("%s%03d", args[4], number)
  end
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["X-API-Key"] = args[2]
  for line in io.lines(args[1]) do
    local whole = wrk.format("POST", nil, nil, line)
    local from, to = whole:find(PLACE, 1, true)
    requests[#requests + 1] = from and whole:sub(1, from - 1) or whole
    rests[#requests] = from and whole:sub(to + 1)
  end
end

function request()
  last = last % #requests + 1
  if not run then
    return requests[last]
  end
  posts = posts + 1
  return requests[last] .. run .. string.format("%09d", posts) .. rests[last]
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
