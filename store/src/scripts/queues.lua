-- The length of each queue.
--
-- Returns for each class that ever had a task: the class and how many wait.
local answer = {}
for i, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
  answer[2 * i - 1], answer[2 * i] = class, redis.call('ZCARD', QUEUE .. class)
end
return answer
