-- Functions of the scripts that ask or change what a tenant uses.
--
-- USAGE holds what each tenant uses, in one value, since every task reads and writes it twice: numbers in the order below, and behind
-- them its share, where it is known that WEIGHTS has that. What expires stands in EXPIRING, times and bytes; but what expires at the time that
-- was counted last stands in `USED_LAST`, since mostly the next has the same.

local USED_FORMAT = '<dddddddddddd'
local USED_NUMBERS = 12
local USED_WIDTH = 96
-- Tasks that wait or run, and bytes of tasks and results, as far as they were submitted under quotas; bytes of functions.
local USED_TASKS = 1
local USED_BYTES = 2
local USED_CODE = 3
-- The first of the times in EXPIRING.
local USED_EXPIRY = 4
-- The number of the last hour, and of the last day; processor time and memory in it stand behind.
local USED_HOUR = 5
local USED_DAY = 8
local USED_LAST = 11
local USED_LAST_BYTES = 12
local USED_SHARE = 13

-- What a tenant uses at a time. What it used in another hour or day is not counted any more.
local function usage_of(tenant, us)
  local packed, used = redis.call('GET', USAGE .. tenant), nil
  if packed then
    used = { struct.unpack(USED_FORMAT, packed) }
    used[USED_SHARE] = string.sub(packed, USED_WIDTH + 1)
  else
    used = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '' }
  end
  local hour = math.floor(string.sub(us, 1, -7) / 3600)
  if used[USED_HOUR] ~= hour then
    used[USED_HOUR], used[USED_HOUR + 1], used[USED_HOUR + 2] = hour, 0, 0
    -- A day begins with an hour.
    local day = math.floor(hour / 24)
    if used[USED_DAY] ~= day then used[USED_DAY], used[USED_DAY + 1], used[USED_DAY + 2] = day, 0, 0 end
  end
  return used
end

-- Writes what `usage_of` has read, and was changed.
local function save_usage(tenant, used)
  redis.call('SET', USAGE .. tenant, struct.pack(USED_FORMAT, unpack(used, 1, USED_NUMBERS)) .. used[USED_SHARE])
end

-- Counts bytes that a tenant has until a time in ms.
local function keep_until(tenant, used, bytes, ends)
  if used[USED_LAST] ~= ends then
    if used[USED_LAST_BYTES] ~= 0 then
      redis.call('HINCRBY', EXPIRING .. tenant, used[USED_LAST], used[USED_LAST_BYTES])
      if used[USED_EXPIRY] == 0 or used[USED_LAST] < used[USED_EXPIRY] then used[USED_EXPIRY] = used[USED_LAST] end
    end
    used[USED_LAST], used[USED_LAST_BYTES] = ends, 0
  end
  used[USED_BYTES], used[USED_LAST_BYTES] = used[USED_BYTES] + bytes, used[USED_LAST_BYTES] + bytes
end

-- Counts bytes no more that were kept until a time in ms, unless that is over.
local function keep_no_more(tenant, used, bytes, ends)
  if used[USED_LAST] == ends then
    used[USED_LAST_BYTES] = used[USED_LAST_BYTES] - bytes
  elseif redis.call('HEXISTS', EXPIRING .. tenant, ends) == 0 then
    return
  elseif redis.call('HINCRBY', EXPIRING .. tenant, ends, -bytes) == 0 then
    redis.call('HDEL', EXPIRING .. tenant, ends)
  end
  used[USED_BYTES] = used[USED_BYTES] - bytes
end

-- Those of the times in EXPIRING that are over, how many bytes have expired with `USED_LAST`, and the first of the other times.
local function expired_of(tenant, used, ms)
  local times, gone, first = {}, 0, 0
  if used[USED_LAST] <= ms then gone = used[USED_LAST_BYTES] end
  if used[USED_EXPIRY] > 0 and used[USED_EXPIRY] <= ms then
    local all = redis.call('HGETALL', EXPIRING .. tenant)
    for i = 1, #all, 2 do
      local ends = tonumber(all[i])
      if ends <= ms then
        times[#times + 1], gone = all[i], gone + all[i + 1]
      elseif first == 0 or ends < first then
        first = ends
      end
    end
  end
  return times, gone, first
end

-- How many bytes a tenant has that uses this. What has expired is not counted any more.
local function stored_bytes(tenant, used, ms)
  local times, gone, first = expired_of(tenant, used, ms)
  if used[USED_LAST] <= ms then used[USED_LAST_BYTES] = 0 end
  if used[USED_EXPIRY] <= ms then used[USED_EXPIRY] = first end
  write_all('HDEL', EXPIRING .. tenant, times)
  used[USED_BYTES] = used[USED_BYTES] - gone
  -- Else the next one to ask would count it again.
  if gone ~= 0 then save_usage(tenant, used) end
  return used[USED_CODE] + used[USED_BYTES]
end

-- Counts `n` more tasks of so many bytes, and returns nothing, what the tenant uses now, and whether WEIGHTS has its share; unless a quota
-- would be exceeded. Then returns 'quota', its name, how much is used, and in how many ms that is certainly less, or -1. `quotas` holds, each `-` where there is no bound: waiting tasks, bytes, processor us and
-- MiB times ms of memory of an hour, and of a day.
local function use_quota(tenant, quotas, share, n, bytes, us, ms)
  -- Seldom called.
  local tasks, stored, hour_cpu, hour_memory, day_cpu, day_memory =
    string.match(quotas, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  local used = usage_of(tenant, us)
  tasks, stored = tonumber(tasks), tonumber(stored)
  if tasks then
    -- Mostly it need not be asked how many of them run.
    local all = used[USED_TASKS]
    local waiting = all + n > tasks and math.max(0, all - running_of(tenant)) or 0
    if waiting + n > tasks then return { 'quota', 'queued', waiting, -1 } end
  end
  if stored then
    local has = stored_bytes(tenant, used, ms)
    if has + bytes > stored then return { 'quota', 'bytes', has, -1 } end
  end
  local function over_period(name, at, seconds, cpu, memory)
    local over = used[at + 1] >= (tonumber(cpu) or math.huge) and 1 or used[at + 2] >= (tonumber(memory) or math.huge) and 2
    if not over then return nil end
    local left = (seconds - string.sub(us, 1, -7) % seconds) * 1000
    return { 'quota', name .. (over == 1 and '_cpu' or '_memory'), used[at + over], left }
  end
  local over = over_period('hour', USED_HOUR, 3600, hour_cpu, hour_memory)
    or over_period('day', USED_DAY, 86400, day_cpu, day_memory)
  if over then return over end
  local is_weighed = used[USED_SHARE] == share
  used[USED_TASKS], used[USED_BYTES], used[USED_SHARE] = used[USED_TASKS] + n, used[USED_BYTES] + bytes, share
  save_usage(tenant, used)
  return nil, used, is_weighed
end
