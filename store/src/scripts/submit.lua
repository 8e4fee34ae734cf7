-- Accepts tasks: all of them or none.
--
-- ARGV: most queued tasks, most recent ids, lifetime of idempotency keys in seconds, number of groups, the
-- tenant of all ('' for the default one), its share, its quotas (nothing where its use is not counted); for each group its class and priority; for each task its id, the record after the time, its arguments
-- (empty where they are a blob), its group, and either nothing or `<delay ms> <body hash> <idempotency key>`.
-- A task whose id is known was accepted before and its answer lost: it is passed over.
-- Returns: 'accepted' and, for each task that has an older one's id, its place and that id; or
-- 'conflict', the key and its task; or 'full' and how many are queued; or what `over_quota` says.
local groups_from, tenant, share, quotas = 7, ARGV[5], ARGV[6], ARGV[7]
local blob_flag = tenant == '' and quotas == '' and BLOB_FLAG or TENANT_BLOB_FLAG
local tasks_from = groups_from + 2 * ARGV[4]
local total = (#ARGV - tasks_from) / 5

local places, older, delays, keys = by_key(tasks_from, total)
if not places then return older end
local fresh = without_record(tasks_from, places)
if #fresh == 0 then return older end
for _, i in ipairs(fresh) do
  local at = tasks_from + 5 * (i - 1)
  if string.byte(ARGV[at + 2]) == blob_flag and redis.call('EXISTS', ARGS_BLOB .. ARGV[at + 1]) == 0 then
    return redis.error_reply(IS_MISSING)
  end
end

local counts = redis.call('HMGET', COUNTS, 'accepted', 'queued', 'delayed', 'sequence')
for i = 1, 4 do counts[i] = tonumber(counts[i] or 0) end
local accepted, queued_now, delayed_now, sequence = unpack(counts)
local waiting = queued_now + delayed_now
if waiting + #fresh > tonumber(ARGV[1]) then return { 'full', waiting } end

local us, ms = clock()
local counted
if quotas ~= '' then
  counted = 0
  for _, i in ipairs(fresh) do
    counted = counted + string.match(ARGV[tasks_from + 5 * i - 3], '^[^\n]*%' .. COUNTED_MARK .. '(%d+)\n')
  end
  local over = over_quota(tenant, quotas, #fresh, counted, us, ms)
  if over then return over end
end
local records, fields, ids, delayed, queues, lists, first, bytes = {}, {}, {}, {}, {}, {}, {}, 0
for g = 1, ARGV[4] do
  local class, priority = ARGV[groups_from + 2 * g - 1], ARGV[groups_from + 2 * g]
  first[g], lists[g] = priority * PRIORITY_WIDTH + sequence, queue_name(class, tenant)
end
local prefix = 'L' .. us
for n, i in ipairs(fresh) do
  local at = tasks_from + 5 * (i - 1)
  local id, group, delay = ARGV[at + 1], tonumber(ARGV[at + 4]), delays[i]
  ids[n] = id
  local record, arg = ARGV[at + 2], ARGV[at + 3]
  records[2 * n - 1], records[2 * n] = TASK .. id, prefix .. record
  if string.byte(record) == blob_flag then
    redis.call('PERSIST', ARGS_BLOB .. id)
    bytes = MAX_DELIVERED_BYTES + 1
  else
    fields[#fields + 1], fields[#fields + 2] = id .. ARGS_MARK, arg
    bytes = bytes + #record + #arg
  end
  local items, score
  if delay and delay > 0 then
    -- One more: the time was cut to whole milliseconds, and no task may come early.
    items, score = delayed, ms + delay + 1
  else
    items, score = list_in(queues, lists[group]), first[group] + n
  end
  items[#items + 1] = score .. ''
  items[#items + 1] = id
end
write_all('MSET', nil, records)
for key, value in pairs(keys) do redis.call('SET', IDEMPOTENCY .. key, value, 'EX', ARGV[3]) end
if #delayed > 0 then
  local earliest = redis.call('ZRANGE', DELAYED, 0, 0)[1]
  write_all('ZADD', DELAYED, delayed)
  if redis.call('ZRANGE', DELAYED, 0, 0)[1] ~= earliest then
    redis.call('PUBLISH', TOPIC_WORK, 'delayed')
  end
end
local delivered, demand = 0, redis.call('HGETALL', DEMAND)
local bound = string.find(share, '/', 1, true)
if bound then
  weigh(tenant, share)
  bind(lists)
end
if ARGV[4] == '1' and #delayed == 0 and bytes <= MAX_DELIVERED_BYTES
  and (not bound or running_of(tenant) + #ids <= tonumber(string.sub(share, bound + 1)))
  and direct_dispatch(demand, ARGV[groups_from + 1], us, ids, records, fields) then
  delivered = #ids
  -- Where a dispatcher demands tasks of a class, none wait: there are no turns to change.
  redis.call('HINCRBY', RUNNING, lists[1], delivered)
else
  weigh(tenant, share)
  enqueue(queues, demand)
end
write_all('HSET', UNFINISHED, fields)
publish_status(delivered > 0 and 'G' or 'Q', { [tenant] = ids })
-- Trimmed in strides: a trim for every task would cost as much as the push.
local recent = RECENT
if tenant ~= '' then
  recent = RECENT_OF .. tenant
  count({ ['accepted:' .. tenant] = #fresh, accepted_of_tenants = #fresh })
end
if write_all('LPUSH', recent, ids) > ARGV[2] + 1000 then redis.call('LTRIM', recent, 0, ARGV[2] - 1) end
redis.call('HSET', COUNTS, 'accepted', accepted + #fresh, 'sequence', sequence + #fresh,
  'queued', queued_now + #fresh - delivered - #delayed / 2, 'delayed', delayed_now + #delayed / 2)
if counted then
  redis.call('HINCRBY', USAGE .. tenant, 'tasks', #fresh)
  redis.call('HINCRBY', USAGE .. tenant, 'bytes', counted)
end
return older
