-- What live dispatchers offer.
--
-- ARGV: time to live in ms. Returns their offers as their beats gave them.
local _, ms = clock()
local live = redis.call('ZRANGE', DISPATCHERS, ms - ARGV[1], '+inf', 'BYSCORE')
local offers = {}
for _, offer in ipairs(read_all('HMGET', OFFERS, live)) do
  if offer then offers[#offers + 1] = offer end
end
return offers
