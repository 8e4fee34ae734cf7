-- Functions of `claim.lua`: they take tasks from queues in the order of turns. What a task costs does not depend on how
-- many tenants wait, but for the depth of a sorted set.

-- Takes their turns from all queues of a tenant, as it runs as many tasks as it may: until one of them ends.
local function park(tenant)
  for _, class in ipairs(redis.call('SMEMBERS', CLASSES)) do
    local queue = queue_name(class, tenant)
    local number = tonumber(redis.call('HGET', RUNNING, queue) or 0)
    if number < PARKED then mark(queue, PARKED + (number < BOUND and BOUND or 0)) end
    redis.call('ZREM', TURNS .. class, queue)
  end
end

-- How many of `n` tasks of a queue, which are counted as running, its tenant may run; the others are counted no more.
local function within_bound(queue, n)
  -- Seldom called.
  local tenant = tenant_of_queue(queue)
  local most = tonumber(string.match(redis.call('HGET', WEIGHTS, tenant) or '', '/(%d+)'))
  local over = most and running_of(tenant) - most or 0
  if over > 0 then redis.call('HINCRBY', RUNNING, queue, -math.min(over, n)) end
  if over >= 0 and most then park(tenant) end
  return n - math.max(0, math.min(over, n))
end

-- Removes at most `most` tasks from the front of a queue, and counts them as running. Returns their ids, and the number of
-- the queue's tasks that run.
local function pop(queue, most)
  local ids = redis.call('ZRANGE', QUEUE .. queue, 0, most - 1)
  if #ids == 0 then return ids, 0 end
  local running = redis.call('HINCRBY', RUNNING, queue, #ids)
  if running >= BOUND then
    local most = within_bound(queue, #ids)
    running = runs_by(running) - #ids + most
    ids = { unpack(ids, 1, most) }
    if most == 0 then return ids, running end
  end
  redis.call('ZREMRANGEBYRANK', QUEUE .. queue, 0, #ids - 1)
  return ids, running
end

-- Takes tasks where several queues wait, or places are reserved. Arguments and answer are those of `take`.
local function take_in_turns(classes, most, reserved)
  -- Seldom called.
  local costs, virtual_times = {}, {} -- what was read of queues and classes

  -- The queue of a class that goes next, with its score and the score of the queue behind it if there is one; nil where
  -- none waits. A queue that waits alone has no score.
  local function next_turn(class)
    local first = redis.call('ZRANGE', TURNS .. class, 0, 1)
    if not first[2] then return first[1] and { class = class, queue = first[1] } end
    local scores = redis.call('ZMSCORE', TURNS .. class, first[1], first[2])
    return { class = class, queue = first[1], score = tonumber(scores[1]), behind = tonumber(scores[2]) }
  end

  -- Takes at most `most` tasks of a queue, no more than go before the queue behind it.
  local function take_turn(turn, most)
    local class, queue, cost = turn.class, turn.queue, nil
    if turn.behind then
      cost = costs[queue] or { costs_of(queue) }
      costs[queue] = cost
      most = math.min(most, 1 + math.floor((turn.behind - turn.score) / (cost[1] + cost[2])))
    end
    local ids, running = pop(queue, most)
    if #ids < most then redis.call('ZREM', TURNS .. class, queue) end
    if cost and #ids > 0 then
      local ended = turn.score - (running - #ids) * cost[1] + (#ids - 1) * cost[2]
      local before = virtual_times[class] or tonumber(redis.call('HGET', VIRTUAL_TIMES, class) or 0)
      virtual_times[class] = math.max(before, ended)
      redis.call('ZADD', TURNS .. class, 'XX', virtual_times[class] + cost[2] + running * cost[1], queue)
    end
    return ids
  end

  -- How much of what it may run a queue runs.
  local function load_of(turn)
    turn.load = turn.load or runs_by(redis.call('HGET', RUNNING, turn.queue)) * costs_of(turn.queue)
    return turn.load
  end

  local function last_turn_of(class) return tonumber(redis.call('HGET', LAST_TURNS, class) or 0) end

  -- The place of the turn that goes first among those of several classes, and whether tenants compete. The classes of one
  -- tenant go in their order. Where others wait, the turn with the smaller load goes first, then that of the class which
  -- had none for longest: virtual times of two classes do not compare.
  local function choose(turns)
    local best, tenant, compete, several
    for i = 1, #classes do
      local turn = turns[i]
      if turn then
        several = several or best
        best, tenant = best or i, tenant or tenant_of_queue(turn.queue)
        compete = compete or turn.behind or tenant_of_queue(turn.queue) ~= tenant
      end
    end
    if not (several and compete) then return best, false end
    for i = best + 1, #classes do
      local turn, other = turns[i], turns[best]
      if turn then
        local less = load_of(turn) - load_of(other)
        if less < 0 or less == 0 and last_turn_of(turn.class) < last_turn_of(other.class) then best = i end
      end
    end
    return best, true
  end

  -- How many of `places` a queue may take: all, but for those reserved for queues of which nothing runs. Such a queue may
  -- take one of these.
  local function places_of(turn, places)
    if reserved == 0 then return places end
    local runs = runs_by(redis.call('HGET', RUNNING, turn.queue)) > 0
    return math.max(places - reserved, runs and 0 or 1)
  end

  local ids, taken, turns = {}, {}, {}
  for i, class in ipairs(classes) do turns[i] = next_turn(class) end
  while #ids < most do
    local place, compete = choose(turns)
    if not place then break end
    local turn = turns[place]
    local places = places_of(turn, most - #ids)
    turns[place] = nil
    -- Without a place for this queue there is none for the others of the class: of these more runs.
    if places > 0 then
      if compete then
        redis.call('HSET', LAST_TURNS, turn.class, redis.call('HINCRBY', LAST_TURNS, '', 1))
      end
      local of_queue = take_turn(turn, compete and 1 or places)
      for _, id in ipairs(of_queue) do ids[#ids + 1] = id end
      taken[#taken + 1], taken[#taken + 2] = turn.queue, #of_queue
      if #ids < most then turns[place] = next_turn(turn.class) end
    end
  end
  for class, virtual_time in pairs(virtual_times) do redis.call('HSET', VIRTUAL_TIMES, class, virtual_time) end
  return ids, taken
end

-- Whether tasks wait in more than one of these classes.
local function several_wait(classes)
  if #classes == 1 then return false end
  local keys = {}
  for i, class in ipairs(classes) do keys[i] = TURNS .. class end
  return redis.call('EXISTS', unpack(keys)) > 1
end

-- Takes at most `most` tasks of these classes, `reserved` of them only from queues of which nothing runs. Returns their ids,
-- and in turn a queue and how many of them are its.
local function take(classes, most, reserved)
  if reserved > 0 or several_wait(classes) then return take_in_turns(classes, most, reserved) end
  for _, class in ipairs(classes) do
    local first = redis.call('ZRANGE', TURNS .. class, 0, 1)
    if first[2] then return take_in_turns({ class }, most, 0) end
    if first[1] then
      local ids = pop(first[1], most)
      if #ids < most then redis.call('ZREM', TURNS .. class, first[1]) end
      -- None where its tenant runs as many as it may.
      if #ids > 0 then return ids, { first[1], #ids } end
    end
  end
  return {}, {}
end
