-- Functions of the scripts that queue tasks or change how many run: which tenant goes next.
--
-- Each class has a queue for each tenant with tasks in it. A queue is named `<class>`, or `<class>@<tenant>`. TURNS holds
-- those of a class that wait, by score; the lowest goes next. A score is the virtual time at which the next task of
-- the queue would end (self-clocked fair queueing: a task takes TURN_COST / weight), and RUNNING_COST / weight for each
-- task that runs. That is much more: who has the smaller share of what runs goes first, and turns decide between equals.
-- A queue that waits alone has no valid score, so that a single tenant costs next to nothing.
--
-- A tenant may be bound to run only so many tasks at once. Then its share in WEIGHTS is `<weight>/<most>`, and the numbers of its
-- queues in RUNNING are BOUND more than what runs, and PARKED more as long as these queues have no turn because so many run. So the
-- commands that change a number tell of it, and other tenants pay nothing.

-- They are rounded to whole numbers when they are divided by a weight, so that sums of them stay exact.
local RUNNING_COST = 1e11
local TURN_COST = 1e5
local BOUND = 1e12
local PARKED = 1e13

local function tenant_of_queue(queue)
  return string.match(queue, TENANT_MARK .. '(.*)') or ''
end

local function class_of_queue(queue)
  return string.match(queue, '^[^' .. TENANT_MARK .. ']*')
end

local function queue_name(class, tenant)
  return tenant == '' and class or class .. TENANT_MARK .. tenant
end

-- The name of the queue of a live record, and its class.
local function queue_of(record)
  local class = string.sub(record, FLAG_AT + 1, (string.find(record, ' ', FLAG_AT + 1, true) or FLAG_AT + 1) - 1)
  return queue_name(class, tenant_of(record)), class
end

-- How many tasks of a queue run, by its number in RUNNING.
local function runs_by(number)
  return (number or 0) % BOUND
end

-- Adds marks to the number of a queue in RUNNING. As text: large numbers are written with exponents.
local function mark(queue, change)
  redis.call('HINCRBY', RUNNING, queue, string.format('%.0f', change))
end

-- How many tasks wait in a queue that has no turn since its tenant runs as many as it may; `number` is its number in RUNNING.
local function parked_in(queue, number)
  if tonumber(number) < PARKED or redis.call('ZSCORE', TURNS .. class_of_queue(queue), queue) then return 0 end
  return redis.call('ZCARD', QUEUE .. queue)
end

-- How many tasks of a tenant run.
local function running_of(tenant)
  -- Seldom called.
  local queues, running = {}, 0
  for i, class in ipairs(redis.call('SMEMBERS', CLASSES)) do queues[i] = queue_name(class, tenant) end
  for _, number in ipairs(read_all('HMGET', RUNNING, queues)) do running = running + runs_by(number) end
  return running
end

-- What a running task and a turn add to the score of a queue.
local function costs_of(queue)
  -- Seldom called.
  local share = redis.call('HGET', WEIGHTS, tenant_of_queue(queue)) or 1
  local weight = tonumber(share) or string.match(share, '%d+')
  return math.floor(RUNNING_COST / weight), math.floor(TURN_COST / weight)
end

-- Gives a queue that waits its score.
local function place(class, queue, virtual_time)
  -- Seldom called.
  local running_cost, turn_cost = costs_of(queue)
  local running = runs_by(redis.call('HGET', RUNNING, queue))
  redis.call('ZADD', TURNS .. class, virtual_time + turn_cost + running * running_cost, queue)
end

-- Lets a queue wait for its turn, if it does not.
local function wait_for_turn(class, queue)
  -- Seldom called.
  if redis.call('ZADD', TURNS .. class, 'NX', 0, queue) == 0 then return end
  redis.call('SADD', CLASSES, class)
  local waiting = redis.call('ZCARD', TURNS .. class)
  if waiting > 2 then
    place(class, queue, redis.call('HGET', VIRTUAL_TIMES, class) or 0)
  elseif waiting == 2 then
    -- Now there is a choice. What was before is forgotten.
    redis.call('HSET', VIRTUAL_TIMES, class, 0)
    for _, one in ipairs(redis.call('ZRANGE', TURNS .. class, 0, 1)) do place(class, one, 0) end
  end
end

-- Gives turns back to the queues of a tenant that lost them, and wakes all dispatchers where tasks wait.
local function unpark(tenant)
  -- Seldom called.
  local waits = false
  for _, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
    local queue = queue_name(class, tenant)
    if tonumber(redis.call('HGET', RUNNING, queue) or 0) >= PARKED then
      mark(queue, -PARKED)
      if redis.call('EXISTS', QUEUE .. queue) == 1 then
        waits = true
        wait_for_turn(class, queue)
      end
    end
  end
  if waits then
    redis.call('DEL', DEMAND)
    redis.call('PUBLISH', TOPIC_WORK, 'work')
  end
end

-- Sets the share of a tenant: its weight, and how many of its tasks may run where that is bound.
local function weigh(tenant, share)
  -- Seldom called.
  if (redis.call('HGET', WEIGHTS, tenant) or '1') == share then return end
  redis.call('HSET', WEIGHTS, tenant, share)
  -- What it uses tells of another share that WEIGHTS has it: no more.
  local used = redis.call('GET', USAGE .. tenant)
  if used then redis.call('SET', USAGE .. tenant, string.sub(used, 1, USED_WIDTH)) end
  local is_bound = string.find(share, '/', 1, true)
  for _, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
    local queue = queue_name(class, tenant)
    local number = tonumber(redis.call('HGET', RUNNING, queue) or 0)
    if number >= PARKED then
      unpark(tenant)
      number = number - PARKED
    end
    if number >= BOUND and not is_bound then mark(queue, -BOUND) end
    if redis.call('ZSCORE', TURNS .. class, queue) then
      place(class, queue, redis.call('HGET', VIRTUAL_TIMES, class) or 0)
    end
  end
end

-- Notes of a queue whose tenant has a bound that it has one; `number` is its number in RUNNING.
local function bind(queue, number)
  -- Seldom called.
  if number < BOUND then
    redis.call('SADD', CLASSES, class_of_queue(queue))
    mark(queue, BOUND)
  end
end

-- Counts tasks of a queue that ended to run.
local function change_running(queue, change)
  local number = redis.call('HINCRBY', RUNNING, queue, change)
  if number == 0 and tenant_of_queue(queue) ~= '' then redis.call('HDEL', RUNNING, queue) end
  local turns = TURNS .. class_of_queue(queue)
  if redis.call('ZCARD', turns) > 1 then
    redis.call('ZADD', turns, 'XX', 'INCR', change * costs_of(queue), queue)
  end
  if number >= PARKED then unpark(tenant_of_queue(queue)) end
end

-- Queues ids: `queues` maps a queue to scores and ids in turn. Wakes the dispatchers that wait for them;
-- `demand` is all of DEMAND, where the caller has read it.
local function enqueue(queues, demand)
  -- Seldom called.
  local woken = {}
  demand = demand or redis.call('HGETALL', DEMAND)
  for queue, items in pairs(queues) do
    local class = class_of_queue(queue)
    write_all('ZADD', QUEUE .. queue, items)
    wait_for_turn(class, queue)
    for i = 1, #demand, 2 do
      if string.find(demand[i + 1], ' ' .. class .. ' ', 1, true) then woken[#woken + 1] = demand[i] end
    end
  end
  if #woken > 0 then
    redis.call('HDEL', DEMAND, unpack(woken))
    redis.call('PUBLISH', TOPIC_WORK, 'work')
  end
end

-- Queues delayed tasks that are due, at most `most`.
local function queue_due(ms, most)
  local ids = redis.call('ZRANGE', DELAYED, '-inf', ms, 'BYSCORE', 'LIMIT', 0, most)
  if #ids == 0 then return end
  local last = redis.call('HINCRBY', COUNTS, 'sequence', #ids)
  local queues, moved = {}, 0
  local records = records_of(ids)
  for i = 1, #ids do
    local record = records[i]
    local priority = string.match(record or '', '^L%d+%W%S+ (%d)[~@\n]')
    if priority then
      local items = list_in(queues, (queue_of(record)))
      items[#items + 1] = priority * PRIORITY_WIDTH + last - #ids + i .. ''
      items[#items + 1] = ids[i]
      moved = moved + 1
    end
  end
  write_all('ZREM', DELAYED, ids)
  enqueue(queues)
  count({ delayed = -#ids, queued = moved })
end
