-- Opens attempts at queued tasks and leases them to a dispatcher.
--
-- ARGV: dispatcher; most due tasks to queue first; for each demand its count, how many of these are reserved for tenants
-- of which nothing runs, its number of classes and the classes. What is left of a demand is stored: the next task of these
-- classes wakes the dispatcher, or is delivered to it unless all that is left is reserved.
-- Returns for each task: id, attempt, deaths, record, arguments.
local dispatcher = ARGV[1]
local us = clock()
local ms = string.sub(us, 1, 13)
redis.call('ZADD', DISPATCHERS, 'NX', ms, dispatcher)
queue_due(ms, ARGV[2])

local first_state = 'R' .. dispatcher .. us .. ' 1 0 0'
local claimed, states, leased, moved, dropped, short = {}, {}, {}, {}, 0, ''

-- Opens attempts at tasks that were taken from queues; returns at how many. `taken` says of each queue how many.
local function open(ids, taken)
  local fields = {}
  for n, id in ipairs(ids) do fields[2 * n - 1], fields[2 * n] = id, id .. ARGS_MARK end
  local values = read_all('HMGET', UNFINISHED, fields)
  local records = records_of(ids)
  local opened, i = 0, 0
  for t = 1, #taken, 2 do
    local queue, of_tenant = taken[t], nil
    for _ = 1, taken[t + 1] do
      i = i + 1
      local id, record, old = ids[i], records[i], values[2 * i - 1]
      if record and string.sub(record, 1, 1) == 'L' then
        local attempt, deaths, state = 1, 0, first_state
        if old then
          local number, unstarted, dead, failures = string.match(old, '^ (%d+) (%d+) (%d+)(.*)$', FENCE_AT)
          attempt, deaths = number + 1, tonumber(dead)
          state = 'R' .. dispatcher .. us .. ' ' .. attempt .. ' ' .. unstarted .. ' ' .. dead .. failures
        end
        local n, at = #states, #claimed
        states[n + 1], states[n + 2] = id, state
        leased[#leased + 1] = id
        of_tenant = of_tenant or list_in(moved, tenant_of_queue(queue))
        of_tenant[#of_tenant + 1] = id
        claimed[at + 1], claimed[at + 2], claimed[at + 3] = id, attempt, deaths
        claimed[at + 4], claimed[at + 5] = record, values[2 * i] or ''
        opened = opened + 1
      else
        -- The record was removed by hand: nothing is left to run.
        dropped = dropped + 1
        change_running(queue, -1)
      end
    end
  end
  return opened
end

local at = 3
while at <= #ARGV do
  local left, reserved, classes = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), {}
  for c = at + 3, at + 2 + ARGV[at + 2] do classes[#classes + 1] = ARGV[c] end
  while left > 0 do
    local ids, taken = take(classes, left, reserved)
    if #ids == 0 then break end
    left = left - open(ids, taken)
  end
  if left > 0 then
    local demanded = math.max(left - reserved, 0) .. (reserved > 0 and RESERVED_MARK or '')
    short = short .. demanded .. ' ' .. table.concat(classes, ' ') .. ' ;'
  end
  at = at + 3 + #classes
end
if short ~= '' then
  redis.call('HSET', DEMAND, dispatcher, short)
else
  redis.call('HDEL', DEMAND, dispatcher)
end
write_all('HSET', UNFINISHED, states)
write_all('SADD', LEASES .. dispatcher, leased)
count({ queued = -#leased - dropped })
for tenant, ids in pairs(moved) do publish_status('R', tenant, ids) end
return claimed
