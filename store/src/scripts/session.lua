-- Makes a session, from nothing or from another one.
--
-- ARGV: its id; the tenant ('' for the default one); what is fixed; its lifetime without calls in ms; how many sessions and how
-- many bytes the tenant may have, each '' where there is no bound; the session that it goes on from, or ''.
-- Returns: 'made'; or 'unknown' where that session is not known; or 'sessions' or 'bytes' and how much the tenant has. A known id is not made
-- again.
local id, tenant, ttl, from = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[7]
local name = SESSION .. id
if redis.call('EXISTS', name) == 1 then return { 'made' } end
local us, ms = clock()
forget_expired(tenant, ms)
local has = stored_bytes(tenant, usage_of(tenant, us), ms)
local spec, bytes = ARGV[3], 0
if from ~= '' then
  local found = redis.call('HMGET', SESSION .. from, 'tenant', 'spec', 'ttl', 'bytes')
  if found[1] ~= tenant then return { 'unknown' } end
  spec, ttl, bytes = found[2], tonumber(found[3]), tonumber(found[4] or 0)
end
if ARGV[5] ~= '' then
  local count = redis.call('ZCOUNT', SESSIONS .. tenant, ms, '+inf')
  if count >= tonumber(ARGV[5]) then return { 'sessions', count } end
end
if ARGV[6] ~= '' and has + bytes > tonumber(ARGV[6]) then return { 'bytes', has } end
-- No two of a tenant have the same: pages of their list end behind one.
local newest = redis.call('ZRANGE', SESSIONS_MADE .. tenant, -1, -1, 'WITHSCORES')[2]
local created = string.format('%.0f', math.max(us, (newest or 0) + 1))
redis.call('ZADD', SESSIONS_MADE .. tenant, created, id)
redis.call('HSET', name, 'tenant', tenant, 'spec', spec, 'created', created, 'ttl', string.format('%.0f', ttl), 'calls', 0)
if bytes > 0 then redis.call('COPY', SESSION_STATE .. from, SESSION_STATE .. id) end
rest(id, tenant, ttl, ms)
count_state(id, tenant, bytes, ttl, us, ms)
return { 'made' }
