-- One task: its record, its state and its progress, each nil where there is none.
--
-- ARGV: task id.
local id = ARGV[1]
return { redis.call('GET', TASK .. id), redis.call('HGET', UNFINISHED, id), redis.call('GET', PROGRESS .. id) }
