-- The capabilities of live dispatchers.
--
-- ARGV: time to live in ms. Returns what each dispatcher sent with its heartbeat.
local _, ms = clock()
local live = redis.call('ZRANGE', DISPATCHERS, ms - ARGV[1], '+inf', 'BYSCORE')
local answer = {}
for _, capabilities in ipairs(read_all('HMGET', CAPABILITIES, live)) do
  if capabilities then answer[#answer + 1] = capabilities end
end
return answer
