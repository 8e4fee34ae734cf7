-- Accepts calls of one session: all of them or none. One that finds the session busy waits behind those that were accepted before.
--
-- ARGV: as `submit.lua`; the records name the session. Returns the same, or 'session' where it is not known.
local tenant, quotas = ARGV[5], ARGV[7]
local tasks_from, total = tasks_in(ARGV)
local session = session_of('L' .. ARGV[tasks_from + 2])
local name = SESSION .. session

local places, older, delays, keys = by_key(ARGV, tasks_from, total)
if not places then return older end
local fresh = without_record(ARGV, tasks_from, places)
if #fresh == 0 then return older end
local found = redis.call('HMGET', name, 'tenant', 'active')
if found[1] ~= tenant then return { 'session' } end
for _, i in ipairs(fresh) do
  local at = tasks_from + 5 * (i - 1)
  if string.byte(ARGV[at + 2]) == TENANT_BLOB_FLAG and redis.call('EXISTS', ARGS_BLOB .. ARGV[at + 1]) == 0 then
    return redis.error_reply(IS_MISSING)
  end
end

local counts, waiting = read_counts(tenant)
if waiting + #fresh > tonumber(ARGV[1]) then return { 'full', waiting } end

local us, ms = clock()
local over, has
if quotas ~= '' then
  over, has = use_quota(tenant, quotas, #fresh, counted_bytes(ARGV, tasks_from, fresh), us, ms)
  if over then return over end
end
for key, value in pairs(keys) do redis.call('SET', IDEMPOTENCY .. key, value, 'EX', ARGV[3]) end
local active, waited = found[2], redis.call('LLEN', SESSION_TASKS .. session)
for _, i in ipairs(fresh) do
  local id = ARGV[tasks_from + 5 * i - 4]
  if active then
    -- Neither delayed nor queued.
    delays[i] = -1
    redis.call('RPUSH', SESSION_TASKS .. session, id)
  else
    active, delays[i] = id, nil
    redis.call('HSET', name, 'active', id)
  end
end
count({ in_sessions = redis.call('LLEN', SESSION_TASKS .. session) - waited })
keep_session(session, tenant)
-- Never delivered: who claims a call of a session reads what the last one has left.
accept(ARGV, tasks_from, fresh, delays, counts, us, ms, false, has)
return older
