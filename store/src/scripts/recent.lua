-- A part of the list of a tenant's accepted tasks, newest first.
--
-- ARGV: the number of the first task wanted, counted from the first ever accepted, or nothing for the
-- newest; how many; how much of each record; the tenant, '' for the default one.
-- Returns: the number of the first task returned, and for each task its id, the head of its record (empty
-- once it was forgotten) and the first letter of its state.
local list, newest = RECENT, nil
if ARGV[4] == '' then
  local counts = redis.call('HMGET', COUNTS, 'accepted', 'accepted_of_tenants')
  newest = (counts[1] or 0) - (counts[2] or 0)
else
  list = RECENT_OF .. ARGV[4]
  newest = tonumber(redis.call('HGET', COUNTS, 'accepted:' .. ARGV[4]) or 0)
end
local first = math.min(tonumber(ARGV[1]) or newest, newest)
local from = newest - first
local ids = redis.call('LRANGE', list, from, from + ARGV[2] - 1)
local states = read_all('HMGET', UNFINISHED, ids)
local answer = { first }
for i, id in ipairs(ids) do
  local n = #answer
  answer[n + 1] = id
  answer[n + 2] = redis.call('GETRANGE', TASK .. id, 0, ARGV[3] - 1)
  answer[n + 3] = states[i] and string.sub(states[i], 1, 1) or ''
end
return answer
