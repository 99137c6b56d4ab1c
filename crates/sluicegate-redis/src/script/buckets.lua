-- Token buckets: decides requests, each over several charges, all or nothing, one after the other.
--
-- KEYS: the keys of all charges, each once. ARGV: the epoch, the channel's command, the requests, and the quotas. A quota is five
-- numbers in MessagePack: mode, capacity, initial, rate, span. A request is an operation (a byte), a number that it means something
-- by (a double), the number of charges (4 bytes), and for each of them the places of key and quota (4 each), and n (a double);
-- the lowest byte comes first. The answer is a list of whole numbers.
--
-- A key holds, in MessagePack, 'sg2', t, w, r, for how long after t a change of quota is remembered, and the quota as it was sent.
-- Modes: 1 is smooth, 2 stepped; nothing flows in the others.
local STOCK, UNLIMITED, BAN = 3, 4, 5

-- A quota of these numbers; nil, or an error, if they make none.
local function quota_of(bytes, mode, capacity, first, rate, span, more)
  local most = 4503599627370496 -- 2^52
  local holds = more == nil and mode >= 1 and mode <= 5 and mode % 1 == 0 and capacity >= 0 and capacity <= most
    and capacity % 1 == 0 and first >= 0 and first <= capacity and first % 1 == 0
  if mode == 1 then -- smooth
    most = 140737488355328 -- 2^47, to be divided by
  end
  if holds and rate >= 1 and rate <= most and rate % 1 == 0 and span >= 1 and span <= most and span % 1 == 0 then
    return { mode = mode, capacity = capacity, first = first, rate = rate, span = span, bytes = bytes }
  end
end

-- A state of its bytes; nil, or an error, if they are none. `quota` is the one that it probably has.
local function read(value, quota)
  if #value > 120 then
    return
  end
  local magic, t, w, r, kept, mode, capacity, first, rate, span, more = cmsgpack.unpack(value)
  if magic ~= 'sg2' or more ~= nil then
    return
  end
  if mode ~= quota.mode or capacity ~= quota.capacity or first ~= quota.first or rate ~= quota.rate or span ~= quota.span then
    quota = quota_of(cmsgpack.pack(mode, capacity, first, rate, span), mode, capacity, first, rate, span)
  end
  if quota and t >= 0 and t <= 9007199254740992 and t % 1 == 0 and w >= 0 and w <= 4503599627370496 and w % 1 == 0
    and r >= 0 and r < span and r % 1 == 0 and kept >= 0 and kept <= 9007199254740992 and kept % 1 == 0
    and (mode < 4 or w + r == 0) then
    return { t = t, w = w, r = r, kept = t + kept, quota = quota }
  end
end

-- What most calls need nothing of: only who does makes these functions.
local function seldom(now)
  local MOST = 4503599627370496 -- 2^52: no deficit is larger
  local HOUR = 3600000000

  -- A bucket becomes one that nobody has used: it began with the store.
  local function begin(state, quota, at)
    state.t, state.w, state.r, state.kept, state.quota = at, 0, 0, 0, quota
    if quota.first < quota.capacity then
      state.t, state.w = math.min(tonumber(ARGV[1]), at), quota.capacity - quota.first
      advance(state, at)
    end
  end

  local function is_unused(state)
    if state.kept > state.t then
      return false
    end
    local unused = {}
    begin(unused, state.quota, state.t)
    return state.w == unused.w and state.r == unused.r
  end

  local function owe(state, n)
    local quota = state.quota
    if quota.mode < UNLIMITED and n > 0 then
      -- The largest deficit is paid off at the horizon.
      local most = MOST
      if quota.mode < STOCK then
        most = math.min(most, quota.capacity + flow(quota, 0, 288230376151711))
      end
      state.w = math.max(state.w, math.min(state.w + n, most))
    end
  end

  -- A key comes by another quota. If it was used, its tokens are carried over, once for all; that is remembered for as long as
  -- it would have taken to be full by the old one, or two quotas by turns would have it begin anew by the larger.
  local function adopt(state, quota)
    local old = state.quota
    if not old or is_unused(state) then
      return begin(state, quota, old and state.t or now)
    end
    local full, has = wait(old, state.t, state.w, state.r), old.capacity - state.w - (state.r > 0 and 1 or 0)
    if not full or full > HOUR or old.mode == BAN then
      full = HOUR
    end
    if old.mode == UNLIMITED then
      has = MOST
    end
    state.kept, state.quota, state.w, state.r = math.max(state.kept, state.t + full), quota, 0, 0
    if quota.mode < UNLIMITED then
      state.w = quota.capacity - math.max(0, math.min(has, quota.capacity))
      owe(state, math.max(0, -has))
    end
    state.full, state.dirty = nil, true
  end

  -- After how long a state that begins with less than it holds can be forgotten: once it is as one that nobody has used, which
  -- fills too.
  local function forgotten(state, full)
    local quota, unused = state.quota, {}
    begin(unused, quota, state.t)
    if state.w == unused.w and state.r == unused.r then
      full = 0
    end
    if full and quota.mode ~= STOCK then
      local begun = wait(quota, state.t, unused.w, unused.r)
      full = begun and math.max(full, begun)
    end
    return full
  end

  return { adopt = adopt, is_unused = is_unused, owe = owe, forgotten = forgotten }
end

local unpack, pcall, now, others = struct.unpack, pcall, clock(), nil

local quotas = { nil }
for place = 4, #ARGV do
  local bytes = ARGV[place]
  local quota = quota_of(bytes, cmsgpack.unpack(bytes))
  if not quota then
    error('sluicegate: argument ' .. place .. ': expected a quota')
  end
  quotas[place - 3] = quota
end

local EXACT = 9007199254740992    -- 2^53
local MOST = 4503599627370496     -- 2^52: no deficit is larger
local MARGIN = 1000               -- milliseconds that a state outlives its use, for clocks that are put right
local WRONG_TYPE, FOREIGN = 1, 2
local GRANTED, LATER, NEVER = 0, 1, 2
local PEEK, BOOK, TAKE_UP_TO, PUT, OWE, RESET = 1, 2, 3, 4, 6, 7

local states, is_woken = { nil }, false
local chosen, asked, numbers, granted = { nil }, { nil }, { nil }, { nil }
local answer, said = { nil, nil, nil, nil, nil, nil, nil, nil }, 0

local requests, at = ARGV[3], 1
while at <= #requests do
  local operation, longest, count, key, place, n
  operation, longest, count, key, place, n, at = unpack('<I1dI4I4I4d', requests, at)

  -- Each charge's state, its quota and its number.
  local wrong
  for charge = 1, count do
    if charge > 1 then
      key, place, n, at = unpack('<I4I4d', requests, at)
    end
    local name, quota = KEYS[key], quotas[place]
    if not (name and quota and n >= 0 and n <= EXACT and n % 1 == 0) then
      error('sluicegate: a charge of ' .. n .. ' on key ' .. key .. ' by quota ' .. place ..
        ': expected a whole number from 0 to 2^53, and places of what was given')
    end
    local state = states[key]
    if not state then
      local value = redis.pcall('GET', name)
      if not value then
        state = { t = now, w = 0, r = 0, kept = 0, quota = quota.first == quota.capacity and quota }
      elseif type(value) == 'string' then
        local is_read
        is_read, state = pcall(read, value, quota)
        if not is_read or not state then
          state = { wrong = FOREIGN }
        elseif state.t < now then
          advance(state, now)
        end
      elseif string.find(value.err, 'WRONGTYPE', 1, true) then
        state = { wrong = WRONG_TYPE }
      else
        redis.call('GET', name)
      end
      states[key] = state
    end
    if state.wrong and not wrong then
      wrong = charge
    end
    chosen[charge], asked[charge], numbers[charge] = state, quota, n
  end

  if wrong then
    answer[said + 1], answer[said + 2] = chosen[wrong].wrong, wrong - 1
    said = said + 2
  elseif operation <= BOOK then
    -- Takes, looks, or books what is due within `longest`.
    local is_granted, due = true, 0
    for charge = 1, count do
      local state, quota, n = chosen[charge], asked[charge], numbers[charge]
      if state.quota ~= quota then
        others = others or seldom(now)
        others.adopt(state, quota)
      end
      local has = n <= quota.capacity - state.w - (state.r > 0 and 1 or 0) or n == 0 or quota.mode == UNLIMITED
      if not has and operation == BOOK and quota.mode < STOCK and n <= quota.capacity and state.w + n <= MOST then
        local time = wait(quota, state.t, state.w + n - quota.capacity, state.r)
        time = time and time + state.t - now
        if time and time <= longest then
          has, due = true, time > due and time or due
        end
      end
      granted[charge], is_granted = has, has and is_granted
    end
    answer[said + 1], answer[said + 2] = 0, due
    said = said + 2
    -- What is decided, and where the buckets stand: four numbers, -1 for none.
    for charge = 1, count do
      local state, quota, n = chosen[charge], asked[charge], numbers[charge]
      local kind, retry, mode = GRANTED, -1, quota.mode
      if not granted[charge] then
        kind = NEVER
        if n <= quota.capacity then
          local time = wait(quota, state.t, state.w + n - quota.capacity, state.r)
          if time then
            kind, retry = LATER, time + state.t - now
          elseif mode == STOCK then
            kind = LATER
          end
        end
      elseif is_granted and operation ~= PEEK and n > 0 and mode < UNLIMITED then
        state.w, state.dirty = state.w + n, true
      end
      local full = wait(quota, state.t, state.w, state.r)
      state.full = full or false
      if not full or mode == BAN then
        full = -1
      elseif full > 0 then
        full = full + state.t - now
      end
      local remaining = quota.capacity - state.w - (state.r > 0 and 1 or 0)
      answer[said + 1], answer[said + 2] = kind, remaining > 0 and remaining or 0
      answer[said + 3], answer[said + 4] = retry, full
      said = said + 4
    end
  else
    said = said + 1
    answer[said] = 0
    for charge = 1, count do
      local state, quota, n = chosen[charge], asked[charge], numbers[charge]
      -- What was charged once is in the key's tokens, whatever quota it has by now.
      local is_late = operation > PUT
      if state.quota ~= quota and operation ~= RESET then
        others = others or seldom(now)
        if not (is_late and state.quota) or others.is_unused(state) then
          others.adopt(state, quota)
        end
      end
      if operation == RESET then
        state.quota, state.dirty, state.woken, is_woken = false, true, true, true
      elseif operation == OWE then
        others = others or seldom(now)
        others.owe(state, n)
        state.dirty = true
      elseif state.quota.mode < UNLIMITED then
        local w = state.w
        local lacks = w + (state.r > 0 and 1 or 0)
        if operation == TAKE_UP_TO then
          local has = quota.capacity - lacks
          n = (has <= 0 and 0) or (has < n and has) or n
          state.w = w + n
          state.dirty = state.dirty or n > 0
        else
          if n <= w then
            state.w = w - n
          else
            n, state.w, state.r = lacks, 0, 0
          end
          if n > 0 then
            state.dirty, state.woken, is_woken = true, true, true
          end
        end
      elseif state.quota.mode == BAN then
        n = 0
      end
      state.full = nil
      if not is_late then
        said = said + 1
        answer[said] = n
      end
    end
  end
end

-- Nothing was written yet: what went wrong until here has changed nothing.
for key = 1, #KEYS do
  local state = states[key]
  if state and state.dirty then
    local quota = state.quota
    if quota then
      local t, full, kept = state.t, state.full, state.kept - state.t
      if full == nil then
        full = wait(quota, t, state.w, state.r)
      end
      if quota.first < quota.capacity then
        others = others or seldom(now)
        full = others.forgotten(state, full)
      end
      kept = kept > 0 and kept or 0
      local lives
      if full then
        lives = (full > kept and full or kept) + t - now
        local rest = lives % 1000
        lives = MARGIN + (lives - rest) / 1000 + (rest > 0 and 1 or 0)
      end
      keep(KEYS[key], '\163sg2' .. cmsgpack.pack(t, state.w, state.r, kept) .. quota.bytes, lives)
    else
      redis.call('DEL', KEYS[key])
    end
  end
end
if is_woken then
  for key = 1, #KEYS do
    if states[key] and states[key].woken then
      -- Who may not publish may still put: whoever watches looks again by and by.
      redis.pcall(ARGV[2], KEYS[key], '')
    end
  end
end
return answer
