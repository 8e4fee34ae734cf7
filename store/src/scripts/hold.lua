-- Notes that a task refers to an object in the bucket, unless the key that names the object does not name it any more. An object that
-- no key names is never named again, so that nobody comes to rely on one that a sweep has found.
--
-- ARGV: the key; how its value begins; the key of the object's holders; the id of the task.
-- Returns: whether the task holds it.
local value = redis.call('GETRANGE', ARGV[1], 0, #ARGV[2] - 1)
if value ~= ARGV[2] then return 0 end
redis.call('SADD', ARGV[3], ARGV[4])
return 1
