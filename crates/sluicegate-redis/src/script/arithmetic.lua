-- A bucket's arithmetic, in doubles. A bucket is what it lacks of being full, its deficit: `w` whole tokens and `r` parts, of
-- which a token has `span`; a microsecond brings `rate` parts. So nothing is rounded, and every number is a whole one below 2^53,
-- which a double holds. Of two such numbers `%` is exact too: a quotient that is no whole number is further from the next one
-- than a double of its size is rounded.
--
-- A server runs all of this anew for each call. Each function costs something then, and so does all that it takes from around it;
-- so there are few, which take functions only and say their numbers themselves.

-- The quotient and the rest of a * b / m, where rests are below 2^47. A quotient from 2^53 on is only nearly right.
local function divide(a, b, m)
  local exact = 9007199254740992 -- 2^53
  local product = a * b
  if product < exact then
    local rest = product % m
    return (product - rest) / m, rest
  end
  local a_rest, b_rest = a % m, b % m
  local quotient = (a - a_rest) / m * b + a_rest * ((b - b_rest) / m)
  product = a_rest * b_rest
  if product < exact then
    local rest = product % m
    return quotient + (product - rest) / m, rest
  end
  -- By hand, as at school, a digit of 5 bits at a time.
  local scale, more, rest = 1, 0, 0
  while scale * 32 <= a_rest do
    scale = scale * 32
  end
  while scale >= 1 do
    local below = a_rest % scale
    local sum = rest * 32 + (a_rest - below) / scale * b_rest
    rest = sum % m
    a_rest, more, scale = below, more * 32 + (sum - rest) / m, scale / 32
  end
  return quotient + more, rest
end

-- What flows from one instant to another: tokens, and parts of one.
local function flow(quota, from, to)
  local mode, span = quota.mode, quota.span
  if mode == 1 then -- smooth
    return divide(to - from, quota.rate, span)
  elseif mode == 2 then -- stepped
    return ((to - to % span) - (from - from % span)) / span * quota.rate, 0
  end
  return 0, 0
end

-- How long from an instant until so much has flowed; nil where that takes more than 9.1 years.
local function wait(quota, from, tokens, parts)
  if tokens < 0 or (tokens == 0 and parts == 0) then
    return 0
  end
  local mode, rate, span, time = quota.mode, quota.rate, quota.span, nil
  if mode == 1 then -- smooth
    local whole, sum = divide(tokens, span, rate)
    sum = sum + parts
    local rest = sum % rate
    time = whole + (sum - rest) / rate
    if rest > 0 then
      time = time + 1
    end
  elseif mode == 2 then -- stepped
    local rest = tokens % rate
    time = (tokens - rest) / rate * span - from % span
    if rest > 0 then
      time = time + span
    end
  end
  if time and time <= 288230376151711 then
    return time
  end
end

-- A state at a later instant.
local function advance(state, to)
  local w, r = state.w, state.r
  if w > 0 or r > 0 then
    local tokens, parts = flow(state.quota, state.t, to)
    if tokens > w or (tokens == w and parts >= r) then
      w, r = 0, 0
    else
      w, r = w - tokens, r - parts
      if r < 0 then
        w, r = w - 1, r + state.quota.span
      end
    end
    state.w, state.r = w, r
  end
  state.t = to
end
