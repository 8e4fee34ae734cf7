-- How many tasks wait in each class, of all tenants together.
--
-- Returns for each class that ever had a task: the class and how many wait.
local answer = {}
for i, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
  local queued = 0
  for _, queue in ipairs(redis.call('ZRANGE', TURNS .. class, 0, -1)) do
    queued = queued + redis.call('ZCARD', QUEUE .. queue)
  end
  answer[2 * i - 1], answer[2 * i] = class, queued
end
return answer
