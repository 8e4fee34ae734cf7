-- Changes records of API keys, all or none, if the first is as the caller knows it.
--
-- ARGV: for each its hash and its new record; the first after its known record, '' where there is none.
-- Returns 1, or 0 where the first is another by now.
local known = redis.call('HGET', API_KEYS, ARGV[2]) or ''
if known ~= ARGV[1] then return 0 end
redis.call('HSET', API_KEYS, unpack(ARGV, 2))
return 1
