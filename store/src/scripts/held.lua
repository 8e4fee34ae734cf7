-- The attempts that a dispatcher holds.
--
-- ARGV: dispatcher. Returns for each: task id, attempt, and R or X (shall be stopped).
local ids = redis.call('SMEMBERS', HELD .. ARGV[1])
local held = {}
for i, state in ipairs(read_all('HMGET', ATTEMPTS, ids)) do
  if state then
    local n = #held
    held[n + 1], held[n + 2] = ids[i], string.match(state, '^ (%d+)', FENCE_AT)
    held[n + 3] = string.sub(state, 1, 1)
  end
end
return held
