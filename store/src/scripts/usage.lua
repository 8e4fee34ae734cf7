-- Functions of the scripts that ask or change how many bytes a tenant has in the store.
--
-- What expires is counted by the time at which it does: EXPIRING maps times to bytes, `expiry` of USAGE is the first of these.

-- Counts bytes that a tenant has until a time in ms.
local function keep_until(tenant, bytes, ends)
  local at = string.format('%.0f', ends)
  redis.call('HINCRBY', EXPIRING .. tenant, at, bytes)
  local first = redis.call('HGET', USAGE .. tenant, 'expiry')
  if not first or tonumber(first) > ends then redis.call('HSET', USAGE .. tenant, 'expiry', at) end
end

-- Counts what has expired no longer.
local function expire(tenant, ms)
  local all, gone, times, first = redis.call('HGETALL', EXPIRING .. tenant), 0, {}, nil
  for i = 1, #all, 2 do
    local ends = tonumber(all[i])
    if ends <= ms then
      times[#times + 1], gone = all[i], gone + all[i + 1]
    elseif not first or ends < first then
      first = ends
    end
  end
  write_all('HDEL', EXPIRING .. tenant, times)
  redis.call('HINCRBY', USAGE .. tenant, 'bytes', -gone)
  if first then
    redis.call('HSET', USAGE .. tenant, 'expiry', string.format('%.0f', first))
  else
    redis.call('HDEL', USAGE .. tenant, 'expiry')
  end
end

-- How many bytes a tenant has in the store.
local function stored_bytes(tenant, ms)
  local first = redis.call('HGET', USAGE .. tenant, 'expiry')
  if first and tonumber(first) <= ms then expire(tenant, ms) end
  local used = redis.call('HMGET', USAGE .. tenant, 'code', 'bytes')
  return (used[1] or 0) + (used[2] or 0)
end
