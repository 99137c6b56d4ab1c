-- A bucket's arithmetic, in doubles. A bucket is what it lacks of being full, its deficit: `w` whole tokens and `r` parts, of
-- which a token has `span`; a microsecond brings `rate` parts. So nothing is rounded, and every number is a whole one below 2^53,
-- which a double holds.
local floor, fmod, max, min, tonumber = math.floor, math.fmod, math.max, math.min, tonumber
local unpack_state, pack_state, call, KEYS, ARGV = cmsgpack.unpack, cmsgpack.pack, redis.call, KEYS, ARGV

local EXACT = 9007199254740992    -- 2^53
local MOST = 4503599627370496     -- 2^52: no deficit is larger
local HORIZON = 288230376151711   -- microseconds; what takes longer is never
local KEPT = 3600000000           -- how long a change of quota is remembered at the most, in microseconds
local MARGIN = 1000               -- milliseconds that a state outlives its use, for clocks that are put right
local MAGIC = 'sg1'
local SMOOTH, STEPPED, STOCK, UNLIMITED, BAN = 1, 2, 3, 4, 5

-- The quotient and the rest of a * b / m, where rests are below 2^47. A quotient from 2^53 on is only nearly right.
local function divide(a, b, m)
  local product = a * b
  if product < EXACT then
    local rest = fmod(product, m)
    return (product - rest) / m, rest
  end
  local a_rest, b_rest = fmod(a, m), fmod(b, m)
  local quotient = (a - a_rest) / m * b + a_rest * ((b - b_rest) / m)
  product = a_rest * b_rest
  if product < EXACT then
    local rest = fmod(product, m)
    return quotient + (product - rest) / m, rest
  end
  -- By hand, as at school, a digit of 5 bits at a time.
  local scale, more, rest = 1, 0, 0
  while scale * 32 <= a_rest do
    scale = scale * 32
  end
  while scale >= 1 do
    local digit = floor(a_rest / scale)
    a_rest = a_rest - digit * scale
    local sum = rest * 32 + digit * b_rest
    rest = fmod(sum, m)
    more = more * 32 + (sum - rest) / m
    scale = scale / 32
  end
  return quotient + more, rest
end

-- What flows from one instant to another: tokens, and parts of one.
local function flow(quota, from, to)
  if quota.mode == SMOOTH then
    return divide(to - from, quota.rate, quota.span)
  elseif quota.mode == STEPPED then
    return (floor(to / quota.span) - floor(from / quota.span)) * quota.rate, 0
  end
  return 0, 0
end

-- How long from an instant until so much has flowed; nil where that is never.
local function wait(quota, from, tokens, parts)
  if tokens < 0 or (tokens == 0 and parts == 0) then
    return 0
  end
  local time
  if quota.mode == SMOOTH then
    local whole, rest = divide(tokens, quota.span, quota.rate)
    local sum = rest + parts
    rest = fmod(sum, quota.rate)
    time = whole + (sum - rest) / quota.rate
    if rest > 0 then
      time = time + 1
    end
  elseif quota.mode == STEPPED then
    local rest = fmod(tokens, quota.rate)
    local steps = (tokens - rest) / quota.rate
    if rest > 0 then
      steps = steps + 1
    end
    time = (floor(from / quota.span) + steps) * quota.span - from
  end
  if time and time <= HORIZON then
    return time
  end
end

local function advance(state, to)
  if state.w > 0 or state.r > 0 then
    local tokens, parts = flow(state.quota, state.t, to)
    if tokens > state.w or (tokens == state.w and parts >= state.r) then
      state.w, state.r = 0, 0
    else
      state.w, state.r = state.w - tokens, state.r - parts
      if state.r < 0 then
        state.w, state.r = state.w - 1, state.r + state.quota.span
      end
    end
  end
  state.t = to
end
