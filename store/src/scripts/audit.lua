-- The counters, and the real sizes to compare them with.
--
-- Returns: accepted, queued, delayed, running, completed, failed, cancelled by the counters; then the
-- lengths of the queues with what waits in sessions, of the delayed set, and of the leases.
local answer = redis.call('HMGET', COUNTS,
  'accepted', 'queued', 'delayed', '', 'completed', 'failed', 'cancelled')
for i = 1, 7 do answer[i] = tonumber(answer[i] or 0) end
local queued, leased, numbers = tonumber(redis.call('HGET', COUNTS, 'in_sessions') or 0), 0, redis.call('HGETALL', RUNNING)
for i = 1, #numbers, 2 do
  answer[4] = answer[4] + runs_by(numbers[i + 1])
  queued = queued + parked_in(numbers[i], numbers[i + 1])
end
for _, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
  for _, queue in ipairs(redis.call('ZRANGE', TURNS .. class, 0, -1)) do
    queued = queued + redis.call('ZCARD', QUEUE .. queue)
  end
end
for _, dispatcher in ipairs(redis.call('ZRANGE', DISPATCHERS, 0, -1)) do
  leased = leased + redis.call('SCARD', LEASES .. dispatcher)
end
answer[8], answer[9], answer[10] = queued, redis.call('ZCARD', DELAYED), leased
return answer
