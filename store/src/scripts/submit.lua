-- Accepts tasks: all of them or none.
--
-- ARGV: most queued tasks, most recent ids, lifetime of idempotency keys in seconds, number of groups, the
-- tenant of all ('' for the default one), its share, its quotas (nothing where its use is not counted); for each group its class and priority; for each task its id, the record after the time, its arguments
-- (empty where they are a blob), its group, and either nothing or `<delay ms> <body hash> <idempotency key>`.
-- A task whose id is known was accepted before and its answer lost: it is passed over.
-- Returns: 'accepted' and, for each task that has an older one's id, its place and that id; or
-- 'conflict', the key and its task; or 'full' and how many are queued; or what `use_quota` says.
local tenant, quotas = ARGV[5], ARGV[7]
local blob_flag = tenant == '' and quotas == '' and BLOB_FLAG or TENANT_BLOB_FLAG
local tasks_from, total = tasks_in(ARGV)

local places, older, delays, keys = by_key(ARGV, tasks_from, total)
if not places then return older end
local fresh = without_record(ARGV, tasks_from, places)
if #fresh == 0 then return older end
for _, i in ipairs(fresh) do
  local at = tasks_from + 5 * (i - 1)
  if string.byte(ARGV[at + 2]) == blob_flag and redis.call('EXISTS', ARGS_BLOB .. ARGV[at + 1]) == 0 then
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
accept(ARGV, tasks_from, fresh, delays, counts, us, ms, true, has)
return older
