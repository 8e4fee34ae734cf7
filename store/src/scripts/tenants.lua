-- What tenants have: those of which most tasks were accepted.
--
-- ARGV: how many tenants at most.
-- Returns for each: the tenant ('' for the default one), and how many tasks were accepted of it, wait, and run.
local counts, of, rows = redis.call('HGETALL', COUNTS), {}, {}
for i = 1, #counts, 2 do
  local tenant = string.match(counts[i], '^accepted:(.*)$')
  if tenant then rows[#rows + 1] = { tenant, tonumber(counts[i + 1]) } end
  if counts[i] == 'accepted' or counts[i] == 'accepted_of_tenants' then of[counts[i]] = tonumber(counts[i + 1]) end
end
local of_default = (of['accepted'] or 0) - (of['accepted_of_tenants'] or 0)
if of_default > 0 then rows[#rows + 1] = { '', of_default } end
table.sort(rows, function(one, other) return one[2] > other[2] end)
local classes, answer = redis.call('SMEMBERS', CLASSES), {}
for n = 1, math.min(#rows, tonumber(ARGV[1])) do
  local tenant, queued = rows[n][1], 0
  for _, class in ipairs(classes) do queued = queued + redis.call('ZCARD', QUEUE .. queue_name(class, tenant)) end
  answer[4 * n - 3], answer[4 * n - 2] = tenant, rows[n][2]
  answer[4 * n - 1], answer[4 * n] = queued, running_of(tenant)
end
return answer
