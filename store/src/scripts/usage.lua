-- Functions of the scripts that ask or change what a tenant uses.
--
-- USAGE holds what each tenant uses: `code`, bytes of functions; `tasks`, that wait or run, and `bytes`, of tasks and results, as
-- far as they were submitted under quotas; `hour` and `day`, the number of the last one, with `_cpu` and `_memory` in it.
-- What expires stands in EXPIRING: times and bytes. `expiry` is the first of these times.

-- How many bytes a tenant has. What has expired is not counted any more.
local function stored_bytes(tenant, ms)
  local key, gone, times, first = USAGE .. tenant, 0, {}, nil
  local used = redis.call('HMGET', key, 'code', 'bytes', 'expiry')
  if used[3] and tonumber(used[3]) <= ms then
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
  end
  return (used[1] or 0) + (used[2] or 0) - gone
end

-- Counts bytes that a tenant has until a time in ms: see usage.lua.
local function keep_until(tenant, bytes, ends)
  redis.call('HINCRBY', EXPIRING .. tenant, ends, bytes)
  local first = redis.call('HGET', USAGE .. tenant, 'expiry')
  if not first or tonumber(first) > ends then redis.call('HSET', USAGE .. tenant, 'expiry', ends) end
end

-- The quota that `n` more tasks of so many bytes would exceed: 'quota', its name, how much is used, and in how many ms that is
-- certainly less, or -1; nothing where there is none. `quotas` holds, each `-` where there is no bound: waiting tasks, bytes,
-- processor us and MiB times ms of memory of an hour, and of a day.
local function over_quota(tenant, quotas, n, bytes, us, ms)
  local most = {}
  for word in string.gmatch(quotas, '%S+') do most[#most + 1] = tonumber(word) or false end
  if most[1] then
    local tasks = tonumber(redis.call('HGET', USAGE .. tenant, 'tasks') or 0)
    -- Mostly it need not be asked how many of them run.
    local waiting = tasks + n > most[1] and math.max(0, tasks - running_of(tenant)) or 0
    if waiting + n > most[1] then return { 'quota', 'queued', waiting, -1 } end
  end
  if most[2] then
    local stored = stored_bytes(tenant, ms)
    if stored + bytes > most[2] then return { 'quota', 'bytes', stored, -1 } end
  end
  local now = tonumber(string.sub(us, 1, -7))
  for at, period in pairs({ [3] = 'hour', [5] = 'day' }) do
    local seconds = at == 3 and 3600 or 86400
    if most[at] or most[at + 1] then
      local used = redis.call('HMGET', USAGE .. tenant, period, period .. '_cpu', period .. '_memory')
      local left = tonumber(used[1]) == math.floor(now / seconds) and (seconds - now % seconds) * 1000
      for i, what in ipairs({ '_cpu', '_memory' }) do
        local limit, amount = most[at + i - 1], tonumber(used[i + 1] or 0)
        if left and limit and amount >= limit then return { 'quota', period .. what, amount, left } end
      end
    end
  end
end
