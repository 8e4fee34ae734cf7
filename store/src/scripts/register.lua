-- Stores a function and its code; equal code is stored once, and a known id is not stored again.
--
-- ARGV: function id, its record, the name of its code, its code, its tenant ('' for the default one).
-- Returns the record with the time of registration in front, 16 digits; times differ, so that lists
-- have an order.
local id = ARGV[1]
local known = redis.call('GET', FUNCTION .. id)
if known then return known end
local us = clock()
local functions = ARGV[5] == '' and FUNCTIONS or FUNCTIONS_OF .. ARGV[5]
local last = redis.call('ZRANGE', functions, -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) >= tonumber(us) then us = string.format('%.0f', last + 1) end
redis.call('SETNX', CODE .. ARGV[3], ARGV[4])
redis.call('SET', FUNCTION .. id, us .. ARGV[2])
redis.call('ZADD', functions, us, id)
return us .. ARGV[2]
