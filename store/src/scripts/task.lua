-- One task: its record and its state, each nil where there is none.
--
-- ARGV: task id.
return { redis.call('GET', TASK .. ARGV[1]), redis.call('HGET', UNFINISHED, ARGV[1]) }
