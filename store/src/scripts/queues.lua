-- How many tasks wait in each class, of all tenants together.
--
-- Returns for each class that ever had a task: the class and how many wait.
local answer, parked, numbers = {}, {}, redis.call('HGETALL', RUNNING)
for i = 1, #numbers, 2 do
  local class = class_of_queue(numbers[i])
  parked[class] = (parked[class] or 0) + parked_in(numbers[i], numbers[i + 1])
end
for i, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
  local queued = parked[class] or 0
  for _, queue in ipairs(redis.call('ZRANGE', TURNS .. class, 0, -1)) do
    queued = queued + redis.call('ZCARD', QUEUE .. queue)
  end
  answer[2 * i - 1], answer[2 * i] = class, queued
end
return answer
