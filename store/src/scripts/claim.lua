-- Opens attempts at queued tasks and leases them to a dispatcher.
--
-- ARGV: dispatcher; most due tasks to queue first; for each demand its count, its number of
-- classes and the classes. What is left of a demand is stored: the next task of these classes wakes the
-- dispatcher, or is delivered to it.
-- Returns for each task: id, attempt, deaths, record, arguments.
local dispatcher = ARGV[1]
local us, ms = clock()
redis.call('ZADD', DISPATCHERS, 'NX', ms, dispatcher)
queue_due(ms, ARGV[2])

local first_state = 'R' .. dispatcher .. us .. ' 1 0 0'
local claimed, states, leased, moved, dropped, short = {}, {}, {}, {}, 0, ''

-- Opens attempts at up to `most` tasks of a class; returns how many.
local function open(class, most)
  local ids = redis.call('ZRANGE', QUEUE .. class, 0, most - 1)
  if #ids == 0 then return 0 end
  redis.call('ZREMRANGEBYRANK', QUEUE .. class, 0, #ids - 1)
  local old_states = read_all('HMGET', ATTEMPTS, ids)
  local args = read_all('HMGET', ARGS, ids)
  local records = records_of(ids)
  local opened = 0
  for i, id in ipairs(ids) do
    local record, old = records[i], old_states[i]
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
      local of_tenant = list_in(moved, tenant_of(record))
      of_tenant[#of_tenant + 1] = id
      claimed[at + 1], claimed[at + 2], claimed[at + 3] = id, attempt, deaths
      claimed[at + 4], claimed[at + 5] = record, args[i] or ''
      opened = opened + 1
    else
      -- The record was removed by hand: nothing is left to run.
      dropped = dropped + 1
    end
  end
  return opened
end

local at = 3
while at <= #ARGV do
  local left, classes = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  for c = at + 2, at + 1 + classes do
    while left > 0 do
      local opened = open(ARGV[c], left)
      if opened == 0 then break end
      left = left - opened
    end
  end
  if left > 0 then
    short = short .. left .. ' ' .. table.concat(ARGV, ' ', at + 2, at + 1 + classes) .. ' ;'
  end
  at = at + 2 + classes
end
if short ~= '' then
  redis.call('HSET', DEMAND, dispatcher, short)
else
  redis.call('HDEL', DEMAND, dispatcher)
end
write_all('HSET', ATTEMPTS, states)
write_all('SADD', LEASES .. dispatcher, leased)
count({ queued = -#leased - dropped, running = #leased })
publish_status('R', moved)
return claimed
