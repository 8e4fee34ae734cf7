-- Sessions of a tenant.
--
-- ARGV: the tenant, '' for the default one; one id, or nothing for all.
-- Returns for each: id, what was fixed, time it was made in us, its lifetime in ms, its active task or '', how many wait, how many have
-- ended, the bytes of its state, and when it expires in ms, or 0 while it has calls.
local tenant, rows = ARGV[1], {}
local _, ms = clock()
local ids = ARGV[2] and { ARGV[2] } or redis.call('ZRANGE', SESSIONS .. tenant, 0, -1)
for _, id in ipairs(ids) do
  local name = SESSION .. id
  local found = redis.call('HMGET', name, 'tenant', 'spec', 'created', 'ttl', 'active', 'calls', 'bytes')
  if found[1] == tenant then
    local left = redis.call('PTTL', name)
    rows[#rows + 1] = {
      id, found[2], found[3], found[4], found[5] or '', redis.call('LLEN', SESSION_TASKS .. id), found[6], found[7] or 0,
      left < 0 and 0 or string.format('%.0f', ms + left),
    }
  end
end
return rows
