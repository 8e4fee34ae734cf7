-- Forgets a function. Its code goes with the last function that has it, but not before the tasks that were accepted: they still
-- run.
--
-- ARGV: function id; its record, as the caller knows it; the name and the size of its code; its tenant; how long the code is kept for
-- tasks that wait, in ms.
-- Returns 1, or 0 where the function is not known any more.
local id, code, tenant = ARGV[1], ARGV[3], ARGV[5]
if redis.call('GET', FUNCTION .. id) ~= ARGV[2] then return 0 end
redis.call('DEL', FUNCTION .. id)
redis.call('ZREM', FUNCTION_EXPIRY, id)
redis.call('ZREM', tenant == '' and FUNCTIONS or FUNCTIONS_OF .. tenant, id)
local size = #ARGV[2] - TIME_DIGITS + ARGV[4]
local us, ms = clock()
local used = usage_of(tenant, us)
used[USED_CODE] = used[USED_CODE] - size
if redis.call('HEXISTS', CODE_USES, code) == 1 and redis.call('HINCRBY', CODE_USES, code, -1) == 0 then
  redis.call('HDEL', CODE_USES, code)
  local latest = redis.call('ZRANGE', DELAYED, -1, -1, 'WITHSCORES')[2]
  local ends = math.max(ms, tonumber(latest or 0)) + ARGV[6]
  redis.call('PEXPIREAT', CODE .. code, string.format('%.0f', ends))
  -- Who registers and deletes all the time must not fill the memory.
  keep_until(tenant, used, size, ends)
end
save_usage(tenant, used)
redis.call('PUBLISH', TOPIC_UNREGISTERED, id)
return 1
