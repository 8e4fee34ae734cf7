-- The attempts that are leased to a dispatcher.
--
-- ARGV: dispatcher. Returns for each: task id, attempt, and R or X (to be stopped).
local ids = redis.call('SMEMBERS', LEASES .. ARGV[1])
local leased = {}
for i, state in ipairs(read_all('HMGET', UNFINISHED, ids)) do
  if state then
    local n = #leased
    leased[n + 1], leased[n + 2] = ids[i], string.match(state, '^ (%d+)', FENCE_AT)
    leased[n + 3] = string.sub(state, 1, 1)
  end
end
return leased
