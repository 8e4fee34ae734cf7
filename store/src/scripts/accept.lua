-- Functions of the scripts that accept tasks. `args` are the arguments of `submit.lua`, from the call or from a staged part.
local GROUPS_FROM = 7

-- Where the tasks stand in `args`, and how many there are.
local function tasks_in(args)
  local from = GROUPS_FROM + 2 * args[4]
  return from, (#args - from) / 5
end

-- How many tasks were accepted, wait, are delayed, were given a number, and are committed but not unpacked.
local function read_counts()
  local counts = redis.call('HMGET', COUNTS, 'accepted', 'queued', 'delayed', 'sequence', 'committed')
  for i = 1, 5 do counts[i] = tonumber(counts[i] or 0) end
  return counts, counts[2] + counts[3] + counts[5]
end

-- The bytes that the tasks at these places are counted with.
local function counted_bytes(args, tasks_from, places)
  local bytes = 0
  for _, i in ipairs(places) do
    bytes = bytes + string.match(args[tasks_from + 5 * i - 3], '^[^\n]*%' .. COUNTED_MARK .. '(%d+)\n')
  end
  return bytes
end

-- Accepts the tasks at the places `fresh`: writes them, and delivers or queues them. `delays` maps places to ms.
local function accept(args, tasks_from, fresh, delays, counts, us, ms, may_deliver)
  local tenant, share = args[5], args[6]
  local blob_flag = tenant == '' and args[7] == '' and BLOB_FLAG or TENANT_BLOB_FLAG
  local accepted, queued_now, delayed_now, sequence = unpack(counts)
  local records, fields, ids, delayed, queues, lists, first, bytes = {}, {}, {}, {}, {}, {}, {}, 0
  for g = 1, args[4] do
    local class, priority = args[GROUPS_FROM + 2 * g - 1], args[GROUPS_FROM + 2 * g]
    first[g], lists[g] = priority * PRIORITY_WIDTH + sequence, queue_name(class, tenant)
  end
  local prefix = 'L' .. us
  for n, i in ipairs(fresh) do
    local at = tasks_from + 5 * (i - 1)
    local id, group, delay = args[at + 1], tonumber(args[at + 4]), delays[i]
    ids[n] = id
    local record, arg = args[at + 2], args[at + 3]
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
  if may_deliver and args[4] == '1' and #delayed == 0 and bytes <= MAX_DELIVERED_BYTES
    and (not bound or running_of(tenant) + #ids <= tonumber(string.sub(share, bound + 1)))
    and direct_dispatch(demand, args[GROUPS_FROM + 1], us, ids, records, fields) then
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
  if write_all('LPUSH', recent, ids) > args[2] + 1000 then redis.call('LTRIM', recent, 0, args[2] - 1) end
  redis.call('HSET', COUNTS, 'accepted', accepted + #fresh, 'sequence', sequence + #fresh,
    'queued', queued_now + #fresh - delivered - #delayed / 2, 'delayed', delayed_now + #delayed / 2)
end
