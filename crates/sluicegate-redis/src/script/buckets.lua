-- Token buckets: decides requests, each over several charges, all or nothing, one after the other.
--
-- KEYS: the keys of all charges, each once. ARGV: the epoch, the channel's command, the number of quotas, and five numbers
-- for each (mode, capacity, initial, rate, span); then the requests: an operation, a number that it means something by, the
-- number of charges, and for each of them the places of key and quota, and n. The answer is a list of whole numbers.
local clock_now = clock()
local at = 0

local function number()
  at = at + 1
  local value = tonumber(ARGV[at])
  if not value or value < 0 or value > EXACT or value ~= floor(value) then
    error('sluicegate: argument ' .. tostring(ARGV[at]) .. ': expected a whole number from 0 to 2^53')
  end
  return value
end

local epoch, publish = number(), ARGV[2]
at = 2

-- A bucket that nobody has used: it began with the store.
local function fresh(quota, now)
  local state = { t = now, w = 0, r = 0, kept = 0, quota = quota }
  if quota.first < quota.capacity then
    state.t, state.w = min(epoch, now), quota.capacity - quota.first
    advance(state, now)
  end
  return state
end

local function is_unused(state)
  local quota = state.quota
  if state.kept > state.t then
    return false
  elseif quota.first == quota.capacity then
    return state.w == 0 and state.r == 0
  end
  local unused = fresh(quota, state.t)
  return state.w == unused.w and state.r == unused.r
end

local function is_same(one, other)
  return one.mode == other.mode and one.capacity == other.capacity and one.first == other.first
    and one.rate == other.rate and one.span == other.span
end

local function is_within(value, least, most)
  return type(value) == 'number' and value >= least and value <= most and value == floor(value)
end

local function read(value)
  if #value > 120 or string.sub(value, 1, #MAGIC) ~= MAGIC then
    return
  end
  local ok, t, w, r, kept, mode, capacity, first, rate, span, more =
    pcall(unpack_state, string.sub(value, #MAGIC + 1))
  local is_ours = ok and more == nil and is_within(t, 0, EXACT) and is_within(w, 0, MOST) and is_within(kept, 0, EXACT)
    and is_within(mode, SMOOTH, BAN) and is_within(capacity, 0, MOST) and is_within(first, 0, capacity)
    and is_within(rate, 1, MOST) and is_within(span, 1, MOST) and is_within(r, 0, span - 1)
  if is_ours then
    local quota = { mode = mode, capacity = capacity, first = first, rate = rate, span = span }
    return { t = t, w = w, r = r, kept = kept, quota = quota }
  end
end

local states, dirty, woken = {}, {}, {}
local GONE, WRONG_TYPE, FOREIGN = 0, 1, 2

-- A key's state: a table, GONE, or what is wrong with it.
local function load(key)
  local state = states[key]
  if not state then
    local value = redis.pcall('GET', KEYS[key])
    if not value then
      state = GONE
    elseif type(value) == 'string' then
      state = read(value) or FOREIGN
    elseif string.find(value.err, 'WRONGTYPE', 1, true) then
      state = WRONG_TYPE
    else
      redis.call('GET', KEYS[key])
    end
    states[key] = state
  end
  if type(state) == 'table' then
    advance(state, max(clock_now, state.t))
  end
  return state
end

-- Tokens that are there; below zero, what is owed.
local function balance(state)
  local mode = state.quota.mode
  if mode == UNLIMITED then
    return MOST
  elseif mode == BAN then
    return 0
  end
  return state.quota.capacity - state.w - (state.r > 0 and 1 or 0)
end

-- The largest deficit, which is paid off at the horizon.
local function most(quota)
  if quota.mode == STOCK then
    return MOST
  end
  return min(MOST, quota.capacity + flow(quota, 0, HORIZON))
end

local function owe(state, n)
  if state.quota.mode < UNLIMITED and n > 0 then
    state.w = max(state.w, min(state.w + n, most(state.quota)))
  end
end

local function put(state, n)
  if state.quota.mode == BAN then
    return 0
  elseif n <= state.w then
    state.w = state.w - n
    return n
  end
  local fitted = state.w + (state.r > 0 and 1 or 0)
  state.w, state.r = 0, 0
  return fitted
end

-- A key's state by this quota. If it was another, its tokens are carried over, once for all; that is remembered for as long
-- as it would have taken to be full by the old one, or two quotas by turns would have it begin anew by the larger.
local function by_quota(key, quota)
  local state = states[key]
  if state == GONE or is_unused(state) then
    local now = state == GONE and clock_now or state.t
    state = fresh(quota, now)
    states[key] = state
  elseif not is_same(state.quota, quota) then
    local full = wait(state.quota, state.t, state.w, state.r)
    if not full or state.quota.mode == BAN then
      full = KEPT
    end
    local has = balance(state)
    state.kept = max(state.kept, state.t + min(full, KEPT))
    state.quota, state.w, state.r = quota, 0, 0
    if quota.mode < UNLIMITED then
      state.w = quota.capacity - max(0, min(has, quota.capacity))
      owe(state, max(0, -has))
    end
    dirty[key] = true
  end
  return state
end

local function has(state, n)
  if n == 0 or state.quota.mode == UNLIMITED then
    return true
  end
  return n <= balance(state)
end

-- How long until n tokens are there, by the clock: nil where that is never, or only after a put.
local function ready(state, n)
  if n > state.quota.capacity then
    return
  end
  local time = wait(state.quota, state.t, state.w + n - state.quota.capacity, state.r)
  return time and time + state.t - clock_now
end

local answer, said = {}, 0

local function say(value)
  said = said + 1
  answer[said] = value
end

local GRANTED, LATER, NEVER = 0, 1, 2

-- What is decided, and where the bucket stands: four numbers, -1 for none.
local function tell(state, n, granted)
  local mode = state.quota.mode
  local full = wait(state.quota, state.t, state.w, state.r)
  if mode == BAN then
    full = nil
  elseif full and full > 0 then
    full = full + state.t - clock_now
  end
  local kind, retry = GRANTED, nil
  if not granted then
    retry = ready(state, n)
    kind = (n > state.quota.capacity or (not retry and mode ~= STOCK)) and NEVER or LATER
  end
  answer[said + 1], answer[said + 2] = kind, mode == UNLIMITED and 0 or max(0, balance(state))
  answer[said + 3], answer[said + 4] = retry or -1, full or -1
  said = said + 4
end

local quotas = {}
for place = 1, number() do
  quotas[place] = { mode = number(), capacity = number(), first = number(), rate = number(), span = number() }
end

-- Loads the states of a request's charges; says whether all are ours, or else which is not.
local function charges_of(count)
  local charges, wrong = {}, nil
  for place = 1, count do
    local key, quota, n = number(), number(), number()
    local state = load(key)
    charges[place] = { key = key, quota = quotas[quota], n = n, state = state, granted = false }
    if (state == WRONG_TYPE or state == FOREIGN) and not wrong then
      wrong = place
    end
  end
  if wrong then
    say(states[charges[wrong].key])
    say(wrong - 1)
    return
  end
  say(0)
  return charges
end

-- Takes, looks, or books what is due within `longest`.
local function decide(charges, is_kept, longest)
  local granted, due = true, 0
  for place = 1, #charges do
    local charge = charges[place]
    charge.state = by_quota(charge.key, charge.quota)
    charge.granted = has(charge.state, charge.n)
    if not charge.granted and longest and charge.quota.mode < STOCK and charge.state.w + charge.n <= MOST then
      local time = ready(charge.state, charge.n)
      if time and time <= longest then
        charge.granted, due = true, max(due, time)
      end
    end
    granted = granted and charge.granted
  end
  say(due)
  for place = 1, #charges do
    local charge = charges[place]
    local state, n = charge.state, charge.n
    if granted and is_kept and n > 0 and state.quota.mode < UNLIMITED then
      state.w = state.w + n
      dirty[charge.key] = true
    end
    tell(state, n, charge.granted)
  end
end

local TAKE, PEEK, BOOK, TAKE_UP_TO, PUT, GIVE_BACK, OWE, RESET = 0, 1, 2, 3, 4, 5, 6, 7

for _ = 1, number() do
  local operation, longest = number(), number()
  local charges = charges_of(number())
  if not charges then -- luacheck: ignore
  elseif operation <= BOOK then
    decide(charges, operation ~= PEEK, operation == BOOK and longest or nil)
  else
    for _, charge in ipairs(charges) do
      local key, n = charge.key, charge.n
      if operation == RESET then
        states[key], dirty[key], woken[key] = GONE, true, true
      elseif operation == TAKE_UP_TO then
        local state = by_quota(key, charge.quota)
        local unlimited = state.quota.mode == UNLIMITED
        n = unlimited and n or max(0, min(n, balance(state)))
        if n > 0 and not unlimited then
          state.w = state.w + n
          dirty[key] = true
        end
        say(n)
      elseif operation == PUT then
        local state = by_quota(key, charge.quota)
        if state.quota.mode == UNLIMITED then
          say(n)
        else
          n = put(state, n)
          say(n)
          if n > 0 then
            dirty[key], woken[key] = true, true
          end
        end
      else
        -- What was charged once is in the key's tokens, whatever quota it has by now.
        local state = states[key]
        if state == GONE or is_unused(state) then
          state = by_quota(key, charge.quota)
        end
        if operation == OWE then
          owe(state, n)
          dirty[key] = true
        elseif state.quota.mode < UNLIMITED and put(state, n) > 0 then
          dirty[key], woken[key] = true, true
        end
      end
    end
  end
end

-- Nothing was written yet: what went wrong until here has changed nothing.
for key in pairs(dirty) do
  local state = states[key]
  if state == GONE then
    call('DEL', KEYS[key])
  else
    local quota = state.quota
    local full = wait(quota, state.t, state.w, state.r)
    if quota.first < quota.capacity then
      -- It can be forgotten once it is as one that nobody has used, which fills too.
      local unused = fresh(quota, state.t)
      if state.w == unused.w and state.r == unused.r then
        full = 0
      end
      if quota.mode ~= STOCK and full then
        local begun = wait(quota, state.t, unused.w, unused.r)
        full = begun and max(full, begun)
      end
    end
    local lives
    if full then
      lives = max(full, state.kept - state.t) + state.t - clock_now
      lives = MARGIN + math.ceil(lives / 1000)
    end
    local packed = pack_state(state.t, state.w, state.r, state.kept,
      quota.mode, quota.capacity, quota.first, quota.rate, quota.span)
    keep(KEYS[key], MAGIC .. packed, lives)
  end
end
for key in pairs(woken) do
  -- Who may not publish may still put: whoever watches looks again by and by.
  redis.pcall(publish, KEYS[key], '')
end
return answer
