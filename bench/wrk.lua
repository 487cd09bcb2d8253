-- What `bench/load.py` reads: one line, all numbers, times in microseconds.
done = function(summary, latency, requests)
   local e = summary.errors
   io.write(string.format("NUMBERS %d %d %d %d %d\n", summary.requests, summary.duration,
      latency:percentile(50.0), latency:percentile(99.0), e.connect + e.read + e.write + e.status + e.timeout))
end
