-- What a tenant uses: see usage.lua.
--
-- ARGV: the tenant, '' for the default one.
-- Returns: functions, bytes, tasks that wait or run, those of them that run, processor us and MiB times ms of memory of this hour,
-- and of this day.
local tenant = ARGV[1]
local us, ms = clock()
local used = usage_of(tenant, us)
local _, gone = expired_of(tenant, used, ms)
local functions = redis.call('ZCARD', tenant == '' and FUNCTIONS or FUNCTIONS_OF .. tenant)
return {
  functions, used[USED_CODE] + used[USED_BYTES] - gone, used[USED_TASKS], running_of(tenant),
  used[USED_HOUR + 1], used[USED_HOUR + 2], used[USED_DAY + 1], used[USED_DAY + 2],
}
