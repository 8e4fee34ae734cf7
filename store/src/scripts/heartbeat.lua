-- Shows that a dispatcher lives, queues due tasks, and takes the tasks of vanished dispatchers back.
--
-- ARGV: dispatcher; its capabilities; time to live in ms; most tasks to move at once; lifetime of results in
-- ms; the outcome of cancelled tasks; the most attempts of a task; outcome and result of a task that had
-- more. Returns: tasks taken back; 1 where more are left; ms until the next delayed task is due, or -1; the first tasks
-- of batches that were committed and whose gateway does not unpack them; the labels that functions ask for.
--
-- A dispatcher judges others only once it has itself sent heartbeats for a whole time to live without a gap:
-- after a restart of the server or a jump of its clock all heartbeats look old, and each dispatcher has
-- that long to show itself.
local me, ttl, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local us, ms = clock()
local last = redis.call('ZSCORE', DISPATCHERS, me)
local since = redis.call('HGET', ALIVE_SINCE, me)
if not last or not since or ms - last > ttl or ms < last - ttl then
  since = ms
  redis.call('HSET', ALIVE_SINCE, me, string.format('%.0f', ms))
end
redis.call('ZADD', DISPATCHERS, ms, me)
redis.call('HSET', CAPABILITIES, me, ARGV[2])
queue_due(ms, most)

local recovered, more = 0, 0
if ms - since >= ttl then
  -- Heartbeats from the future were made before the clock was set back.
  for _, other in ipairs(redis.call('ZRANGE', DISPATCHERS, ms + ttl, '+inf', 'BYSCORE')) do
    redis.call('ZADD', DISPATCHERS, ms, other)
  end
  local final = { cancelled = ARGV[6], most = tonumber(ARGV[7]), outcome = ARGV[8], result = ARGV[9] }
  for _, other in ipairs(redis.call('ZRANGE', DISPATCHERS, '-inf', '(' .. (ms - ttl), 'BYSCORE')) do
    recovered = recovered + take_from(begin_ends(us, ms, ARGV[5]), other, most - recovered, 'V', final)
    if recovered >= most then
      more = 1
      break
    end
  end
end

local batches, abandoned = redis.call('HGETALL', BATCHES), {}
for i = 1, #batches, 2 do
  if ms - string.match(batches[i + 1], '%d+$') > ttl then abandoned[#abandoned + 1] = batches[i] end
end
local due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
return { recovered, more, due and math.max(0, due - ms) or -1, abandoned, redis.call('SMEMBERS', LABEL_SETS) }
