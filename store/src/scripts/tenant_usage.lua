-- What a tenant uses: see usage.lua.
--
-- ARGV: the tenant, '' for the default one.
-- Returns: functions, bytes, tasks that wait or run, those of them that run, processor us and MiB times ms of memory of this hour,
-- and of this day.
local tenant = ARGV[1]
local us, ms = clock()
local now = tonumber(string.sub(us, 1, -7))
local known = redis.call('HMGET', USAGE .. tenant,
  'code', 'bytes', 'tasks', 'hour', 'hour_cpu', 'hour_memory', 'day', 'day_cpu', 'day_memory')
for i = 1, 9 do known[i] = tonumber(known[i] or 0) end
if known[4] ~= math.floor(now / 3600) then known[5], known[6] = 0, 0 end
if known[7] ~= math.floor(now / 86400) then known[8], known[9] = 0, 0 end
local bytes, all = known[1] + known[2], redis.call('HGETALL', EXPIRING .. tenant)
for i = 1, #all, 2 do
  if tonumber(all[i]) <= ms then bytes = bytes - all[i + 1] end
end
local functions = redis.call('ZCARD', tenant == '' and FUNCTIONS or FUNCTIONS_OF .. tenant)
return { functions, bytes, known[3], running_of(tenant), known[5], known[6], known[8], known[9] }
