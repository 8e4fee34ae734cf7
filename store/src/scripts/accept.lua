-- Functions of the scripts that accept tasks. `args` are the arguments of `submit.lua`, from the call or from a staged part.
local GROUPS_FROM = 7

-- Where the tasks stand in `args`, and how many there are.
local function tasks_in(args)
  local from = GROUPS_FROM + 2 * args[4]
  return from, (#args - from) / 5
end

-- How many tasks were accepted, wait, are delayed, were given a number, and are committed but not unpacked; of a tenant but
-- the default one also how many were accepted of it and of all such. And how many wait in all.
local function read_counts(tenant)
  local counts
  if tenant == '' then
    counts = redis.call('HMGET', COUNTS, 'accepted', 'queued', 'delayed', 'sequence', 'committed')
  else
    counts = redis.call('HMGET', COUNTS, 'accepted', 'queued', 'delayed', 'sequence', 'committed', 'accepted:' .. tenant,
      'accepted_of_tenants')
  end
  for i = 1, #counts do counts[i] = tonumber(counts[i] or 0) end
  return counts, counts[2] + counts[3] + counts[5]
end

-- Counts `n` more tasks as accepted, and writes these counts too.
local function write_counts(counts, tenant, n, ...)
  if tenant == '' then
    redis.call('HSET', COUNTS, 'accepted', counts[1] + n, ...)
  else
    redis.call('HSET', COUNTS, 'accepted', counts[1] + n, 'accepted:' .. tenant, counts[6] + n,
      'accepted_of_tenants', counts[7] + n, ...)
  end
end

-- The bytes that the tasks at these places are counted with.
local function counted_bytes(args, tasks_from, places)
  -- Seldom called.
  local bytes = 0
  for _, i in ipairs(places) do
    bytes = bytes + string.match(args[tasks_from + 5 * i - 3], '^[^\n]*%' .. COUNTED_MARK .. '(%d+)\n')
  end
  return bytes
end

-- Queues those of the tasks at the places `fresh` that are not delayed; `queues_of` holds the queue of each group.
local function queue_accepted(args, tasks_from, fresh, delays, queues_of, sequence, demand)
  -- Seldom called.
  local first, queues = {}, {}
  for g = 1, #queues_of do first[g] = args[GROUPS_FROM + 2 * g] * PRIORITY_WIDTH + sequence end
  for n, i in ipairs(fresh) do
    if (delays[i] or 0) == 0 then
      local at = tasks_from + 5 * (i - 1)
      local group = tonumber(args[at + 4])
      local items = list_in(queues, queues_of[group])
      items[#items + 1] = first[group] + n .. ''
      items[#items + 1] = args[at + 1]
    end
  end
  enqueue(queues, demand)
end

-- Accepts the tasks at the places `fresh`: writes them, and delivers or queues them. `delays` maps places to ms, or to -1 for those that
-- wait for others of their session. `used` is what the tenant uses with these, where they are counted, and
-- `is_weighed` whether WEIGHTS has its share.
local function accept(args, tasks_from, fresh, delays, counts, us, ms, may_deliver, used, is_weighed)
  local tenant, share = args[5], args[6]
  local records, fields, ids, delayed, bytes = {}, {}, {}, {}, 0
  local prefix = 'L' .. us
  for n, i in ipairs(fresh) do
    local at = tasks_from + 5 * (i - 1)
    local id, record, arg, delay = args[at + 1], args[at + 2], args[at + 3], delays[i]
    ids[n] = id
    records[2 * n - 1], records[2 * n] = TASK .. id, prefix .. record
    local flag = string.byte(record)
    if flag == BLOB_FLAG or flag == TENANT_BLOB_FLAG then
      redis.call('PERSIST', ARGS_BLOB .. id)
      bytes = MAX_DELIVERED_BYTES + 1
    else
      fields[#fields + 1], fields[#fields + 2] = id .. ARGS_MARK, arg
      bytes = bytes + #record + #arg
      -- A list of pieces (`\0parts\0`) is put together by who claims the task.
      if string.byte(arg, 1) == 0 and string.byte(arg, 2) == 112 then bytes = MAX_DELIVERED_BYTES + 1 end
    end
    if (delay or 0) > 0 then
      -- One more: the time was cut to whole milliseconds, and no task may come early.
      delayed[#delayed + 1] = ms + delay + 1 .. ''
      delayed[#delayed + 1] = id
    end
  end
  write_all('MSET', nil, records)
  if #delayed > 0 then
    local earliest = redis.call('ZRANGE', DELAYED, 0, 0)[1]
    write_all('ZADD', DELAYED, delayed)
    if redis.call('ZRANGE', DELAYED, 0, 0)[1] ~= earliest then
      redis.call('PUBLISH', TOPIC_WORK, 'delayed')
    end
  end
  local queues_of, demand = {}, redis.call('HGETALL', DEMAND)
  for g = 1, args[4] do queues_of[g] = queue_name(args[GROUPS_FROM + 2 * g - 1], tenant) end
  local slash = string.find(share, '/', 1, true)
  local most = slash and tonumber(string.sub(share, slash + 1))
  if (most or used) and not is_weighed then weigh(tenant, share) end
  if may_deliver and args[4] == '1' and #delayed == 0 and bytes <= MAX_DELIVERED_BYTES
    -- Mostly it need not be asked how many of them run.
    and (not most or used and used[USED_TASKS] <= most or running_of(tenant) + #ids <= most)
    and direct_dispatch(demand, args[GROUPS_FROM + 1], us, ids, records, fields) then
    -- Where a dispatcher demands tasks of a class, none wait: there are no turns to change.
    local number = redis.call('HINCRBY', RUNNING, queues_of[1], #ids)
    if most then bind(queues_of[1], number) end
    write_counts(counts, tenant, #ids)
    publish_status('G', tenant, ids)
  else
    local _, queued, delayed_before, sequence = unpack(counts)
    if most then
      for _, queue in ipairs(queues_of) do bind(queue, tonumber(redis.call('HGET', RUNNING, queue) or 0)) end
    elseif not used then
      weigh(tenant, share)
    end
    queue_accepted(args, tasks_from, fresh, delays, queues_of, sequence, demand)
    write_counts(counts, tenant, #ids, 'sequence', sequence + #ids,
      'queued', queued + #ids - #delayed / 2, 'delayed', delayed_before + #delayed / 2)
    publish_status('Q', tenant, ids)
  end
  write_all('HSET', UNFINISHED, fields)
  -- Trimmed in strides: a trim for every task would cost as much as the push.
  local recent = tenant == '' and RECENT or RECENT_OF .. tenant
  if write_all('LPUSH', recent, ids) > args[2] + 1000 then redis.call('LTRIM', recent, 0, args[2] - 1) end
end

-- Accepts the tasks in `args` that are new, unless a key, the room in the queue or a quota stands against it, or `refused`, an answer to
-- new tasks. `before` is called with where the tasks stand, the places, the delays and the time in ms before they are accepted, and then none is
-- delivered. Returns the answer.
local function submit(args, refused, before)
  local tenant, share, quotas = args[5], args[6], args[7]
  local tasks_from, total = tasks_in(args)
  local places, older, delays, keys = by_key(args, tasks_from, total)
  if not places then return older end
  local fresh = without_record(args, tasks_from, places)
  if #fresh == 0 then return older end
  if refused then return refused end
  for _, i in ipairs(fresh) do
    local at = tasks_from + 5 * (i - 1)
    local flag = string.byte(args[at + 2])
    if (flag == BLOB_FLAG or flag == TENANT_BLOB_FLAG) and redis.call('EXISTS', ARGS_BLOB .. args[at + 1]) == 0 then
      return redis.error_reply(IS_MISSING)
    end
  end
  local counts, waiting = read_counts(tenant)
  if waiting + #fresh > tonumber(args[1]) then return { 'full', waiting } end
  local us, ms = clock()
  local over, used, is_weighed
  if quotas ~= '' then
    over, used, is_weighed = use_quota(tenant, quotas, share, #fresh, counted_bytes(args, tasks_from, fresh), us, ms)
    if over then return over end
  end
  for key, value in pairs(keys) do redis.call('SET', IDEMPOTENCY .. key, value, 'EX', args[3]) end
  if before then before(tasks_from, fresh, delays, ms) end
  accept(args, tasks_from, fresh, delays, counts, us, ms, not before, used, is_weighed)
  return older
end
