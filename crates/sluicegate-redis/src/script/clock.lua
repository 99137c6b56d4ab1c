-- The server's time in microseconds, and how long keys are kept. The only lines that tests replace, where they own the time.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function keep(key, state, milliseconds)
  if milliseconds then
    redis.call('SET', key, state, 'PX', milliseconds)
  else
    redis.call('SET', key, state)
  end
end
local function expire(key, milliseconds)
  redis.call('PEXPIRE', key, milliseconds)
end
