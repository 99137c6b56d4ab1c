-- Who is there: the instances of a group, each with the instant, in microseconds, at which it is gone if it does not say again
-- that it is there.
--
-- KEYS: the group. ARGV: the instance, how long it is there (0: it leaves), how many there may be. The answer is how many there
-- are, or -1 where there is no room for one more.
local group, now = KEYS[1], clock()
local instance, lives, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', group, '-inf', string.format('%.0f', now))
if lives == 0 then
  redis.call('ZREM', group, instance)
elseif redis.call('ZCARD', group) >= most and not redis.call('ZSCORE', group, instance) then
  return -1
else
  redis.call('ZADD', group, string.format('%.0f', now + lives), instance)
  local last = redis.call('ZREVRANGE', group, 0, 0, 'WITHSCORES')
  expire(group, math.ceil((last[2] - now) / 1000))
end
return redis.call('ZCARD', group)
