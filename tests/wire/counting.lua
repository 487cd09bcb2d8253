-- What wrk sends and counts: see test_real_load_tools.py. Arguments: how many requests are sent at once, and a file with
-- the body that each answer has.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = io.open(arguments[2], "rb")
  expected, right, wrong = file:read("*a"), 0, 0
  file:close()
  local several = {}
  for number = 1, tonumber(arguments[1]) do
    several[number] = wrk.format("GET")
  end
  batch = table.concat(several)
end

function request()
  return batch
end

function response(status, headers, body)
  if status == 200 and body == expected then
    right = right + 1
  else
    wrong = wrong + 1
  end
end

function done()
  local right, wrong = 0, 0
  for _, thread in ipairs(threads) do
    right, wrong = right + thread:get("right"), wrong + thread:get("wrong")
  end
  print(string.format("right: %d wrong: %d", right, wrong))
end
