-- Tells those who watch what running tasks show of themselves, and keeps how far these have come.
--
-- ARGV: the message; lifetime of what is kept in ms; for each task that told its progress: its id and that.
for i = 3, #ARGV, 2 do
  redis.call('SET', PROGRESS .. ARGV[i], ARGV[i + 1], 'PX', ARGV[2])
end
redis.call('PUBLISH', TOPIC_LIVE, ARGV[1])
return 0
