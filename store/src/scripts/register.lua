-- Stores a function and its code; equal code is stored once, and a known id is not stored again.
--
-- ARGV: function id, its record, the name of its code, its code, its tenant ('' for the default one); how many functions
-- and how many bytes the tenant may have, each '' where there is no bound; after how many ms it expires, '' where it does not; the labels that it asks for, and how many
-- different ones there may be.
-- Returns: 'stored' and the record with the time of registration in front, 16 digits; or 'functions' or 'bytes' and how much
-- the tenant has; or 'labels' and how many there are. Times differ, so that lists have an order.
local id, code, tenant = ARGV[1], CODE .. ARGV[3], ARGV[5]
local known = redis.call('GET', FUNCTION .. id)
if known then return { 'stored', known } end
local functions = tenant == '' and FUNCTIONS or FUNCTIONS_OF .. tenant
local size = #ARGV[2] + #ARGV[4]
if ARGV[6] ~= '' then
  local count = redis.call('ZCARD', functions)
  if count >= tonumber(ARGV[6]) then return { 'functions', count } end
end
local us, ms = clock()
local used = usage_of(tenant, us)
if ARGV[7] ~= '' then
  local bytes = stored_bytes(tenant, used, ms)
  if bytes + size > tonumber(ARGV[7]) then return { 'bytes', bytes } end
end
if ARGV[9] ~= '' and redis.call('SISMEMBER', LABEL_SETS, ARGV[9]) == 0 then
  local sets = redis.call('SCARD', LABEL_SETS)
  if sets >= tonumber(ARGV[10]) then return { 'labels', sets } end
  redis.call('SADD', LABEL_SETS, ARGV[9])
  -- Dispatchers send a heartbeat, whose answer tells them.
  redis.call('PUBLISH', TOPIC_WORK, 'delayed')
end
local last = redis.call('ZRANGE', functions, -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) >= tonumber(us) then us = string.format('%.0f', last + 1) end
-- Code that earlier versions have stored is not counted, and so never removed.
local is_new = redis.call('SETNX', code, ARGV[4]) == 1
if is_new or redis.call('PERSIST', code) == 1 or redis.call('HEXISTS', CODE_USES, ARGV[3]) == 1 then
  redis.call('HINCRBY', CODE_USES, ARGV[3], 1)
end
redis.call('SET', FUNCTION .. id, us .. ARGV[2])
redis.call('ZADD', functions, us, id)
if ARGV[8] ~= '' then
  redis.call('ZADD', FUNCTION_EXPIRY, string.format('%.0f', math.floor(us / 1000) + ARGV[8]), id)
end
used[USED_CODE] = used[USED_CODE] + size
save_usage(tenant, used)
return { 'stored', us .. ARGV[2] }
