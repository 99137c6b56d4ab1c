-- The test's time, before all other arguments; nothing expires but by it.
local function clock()
  return tonumber(table.remove(ARGV, 1))
end
local function keep(key, state)
  redis.call('SET', key, state)
end
local function expire()
end
