-- Functions of the scripts that ask or change what a tenant uses.
--
-- USAGE holds what each tenant uses: `code`, bytes of functions; `tasks`, that wait or run, and `bytes`, of tasks and results, as
-- far as they were submitted under quotas; `hour` and `day`, the number of the last one, with `_cpu` and `_memory` in it.
-- What expires stands in EXPIRING: times and bytes. `expiry` is the first of these times.

-- Where they stand in what `usage_of` returns. Processor time and memory of a period stand behind its number.
local USED_TASKS = 1
local USED_BYTES = 2
local USED_CODE = 3
local USED_EXPIRY = 4
local USED_HOUR = 5
local USED_DAY = 8

-- What a tenant uses at a time, in the order above, and whether an hour or a day has begun: what it used in another one is not
-- counted any more.
local function usage_of(tenant, us)
  local used = redis.call('HMGET', USAGE .. tenant, 'tasks', 'bytes', 'code', 'expiry',
    'hour', 'hour_cpu', 'hour_memory', 'day', 'day_cpu', 'day_memory')
  for i = 1, 10 do used[i] = tonumber(used[i] or 0) end
  local now = string.sub(us, 1, -7)
  local hour, day = math.floor(now / 3600), math.floor(now / 86400)
  local began = used[USED_HOUR] ~= hour
  if began then used[USED_HOUR], used[USED_HOUR + 1], used[USED_HOUR + 2] = hour, 0, 0 end
  -- A day begins with an hour.
  if used[USED_DAY] ~= day then used[USED_DAY], used[USED_DAY + 1], used[USED_DAY + 2] = day, 0, 0 end
  return used, began
end

-- How many bytes a tenant has that uses this. What has expired is not counted any more.
local function stored_bytes(tenant, used, ms)
  if used[USED_EXPIRY] > 0 and used[USED_EXPIRY] <= ms then
    local key, gone, times, first = USAGE .. tenant, 0, {}, nil
    local all = redis.call('HGETALL', EXPIRING .. tenant)
    for i = 1, #all, 2 do
      local ends = tonumber(all[i])
      if ends <= ms then
        times[#times + 1], gone = all[i], gone + all[i + 1]
      elseif not first or ends < first then
        first = ends
      end
    end
    write_all('HDEL', EXPIRING .. tenant, times)
    redis.call('HINCRBY', key, 'bytes', -gone)
    if first then redis.call('HSET', key, 'expiry', first) else redis.call('HDEL', key, 'expiry') end
    used[USED_BYTES], used[USED_EXPIRY] = used[USED_BYTES] - gone, first or 0
  end
  return used[USED_CODE] + used[USED_BYTES]
end

-- Counts bytes that a tenant has until a time in ms: see usage.lua.
local function keep_until(tenant, bytes, ends)
  redis.call('HINCRBY', EXPIRING .. tenant, ends, bytes)
  local first = redis.call('HGET', USAGE .. tenant, 'expiry')
  if not first or tonumber(first) > ends then redis.call('HSET', USAGE .. tenant, 'expiry', ends) end
end

-- Counts `n` more tasks of so many bytes, and returns nothing and how many tasks the tenant has now; unless a quota would be exceeded.
-- Then returns 'quota', its name, how much is used, and in how many ms that is certainly less, or -1. `quotas` holds, each `-` where there is no bound: waiting tasks, bytes, processor us and
-- MiB times ms of memory of an hour, and of a day.
local function use_quota(tenant, quotas, n, bytes, us, ms)
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
  local has = used[USED_TASKS] + n
  redis.call('HSET', USAGE .. tenant, 'tasks', has, 'bytes', used[USED_BYTES] + bytes)
  return nil, has
end
