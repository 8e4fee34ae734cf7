-- Accepts a large batch whose parts are staged: all of it or none. Its tasks are queued part by part, by `unpack.lua`, so that
-- no other client waits for all of it.
--
-- ARGV: most queued tasks; lifetime of idempotency keys in seconds; the tenant ('' for the default one); its quotas (nothing
-- where its use is not counted); the bytes that the batch is counted with; the id of its first task; the name of its parts;
-- their number; the number of its tasks; nothing or `<body hash> <idempotency key>` of the first task; the ids of tasks whose
-- arguments are blobs.
-- Returns: 'accepted'; 'known' where it was accepted before, from other parts; 'older' where the key is known for a task of
-- another id; else as `submit.lua`.
local tenant, quotas, bytes = ARGV[3], ARGV[4], ARGV[5]
local first, name, parts, total = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local batch = redis.call('HGET', BATCHES, first)
if batch then return { string.sub(batch, 1, #name) == name and 'accepted' or 'known' } end
if redis.call('EXISTS', TASK .. first) == 1 then return { 'known' } end
local body, key = string.match(ARGV[10], '^(%x+) (.*)$')
local known = key and known_key(key)
if known then
  if string.sub(known, ID_BYTES + 1) == body then return { 'older' } end
  return { 'conflict', key, string.sub(known, 1, ID_BYTES) }
end

local values = {}
for part = 0, parts - 1 do values[#values + 1] = STAGED .. name .. ':' .. part end
for i = 11, #ARGV do values[#values + 1] = ARGS_BLOB .. ARGV[i] end
if redis.call('EXISTS', unpack(values)) < #values then return redis.error_reply(IS_MISSING) end

local _, waiting = read_counts('')
if waiting + total > tonumber(ARGV[1]) then return { 'full', waiting } end
local us, ms = clock()
if quotas ~= '' then
  local over = use_quota(tenant, quotas, '', total, bytes, us, ms)
  if over then return over end
end
for _, value in ipairs(values) do redis.call('PERSIST', value) end
if key then redis.call('SET', IDEMPOTENCY .. key, first .. body, 'EX', ARGV[2]) end
redis.call('HINCRBY', COUNTS, 'committed', total)
redis.call('HSET', BATCHES, first, name .. ' 0 ' .. parts .. ' ' .. string.format('%.0f', ms))
return { 'accepted' }
