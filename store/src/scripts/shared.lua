-- Stands in front of every other script: the keys, and what many scripts do.
--
-- A task is one string, its card. While it lives: `L<accepted us> <class> <lane>\n<body>`. Once it
-- has ended: `<C|F|X><finished us> <expires ms> <#card> <#state> <#ending>\n` and the live card, the
-- state, the ending and the result. Its arguments and its state stand in two hashes while it lives.
-- Large arguments and results are keys of their own, which scripts never read (`large.rs` says why): a
-- `+` instead of the first blank of a live card says so of the arguments, ` <#result>` at the end of the
-- first line of an ended one of the result.
-- The state exists from the first attempt on:
-- `<R|X|Q><dispatcher><started us> <attempt> <uncounted> <deaths>` and a \30 before each loss, where
-- R runs, X runs and shall be stopped, Q waits for another attempt.
--
-- Hashes and whole-list commands instead of one key for each thing: a command costs more than the
-- entry it writes, so a batch is few commands with many entries. `examples/cost.rs` measures it.
local TASK = 'belljar:task:'             -- + task id: its card
local ARGS = 'belljar:args'              -- hash: task id -> pickled arguments
local LARGE_ARGS = 'belljar:args:'       -- + task id: pickled arguments that are large
local LARGE_RESULT = 'belljar:result:'   -- + task id: a result that is large; + ':' and an attempt: unpublished
local ATTEMPTS = 'belljar:attempts'      -- hash: task id -> state
local QUEUE = 'belljar:queue:'           -- + class: sorted set of task ids by lane, then sequence
local DELAYED = 'belljar:delayed'        -- sorted set of task ids by due time in ms
local CLASSES = 'belljar:classes'        -- set of the classes that have a queue
local WANTS = 'belljar:wants'            -- hash: dispatcher -> what it waits for: `<count> <class>... ;`...
local COUNTS = 'belljar:counts'          -- hash of the conservation counters, and the sequence
local RECENT = 'belljar:recent'          -- list of the newest accepted task ids
local KEY = 'belljar:key:'               -- + idempotency key: task id and hash of the body
local DISPATCHERS = 'belljar:dispatchers' -- sorted set of dispatchers by last beat in ms
local WATCHING = 'belljar:watching'      -- hash: dispatcher -> since when it has beaten without a gap
local OFFERS = 'belljar:offers'          -- hash: dispatcher -> its classes and workers
local HELD = 'belljar:held:'             -- + dispatcher: set of the task ids that it holds
local TOPIC_ENDED, TOPIC_WORK, TOPIC_CANCEL = 'belljar:ended', 'belljar:work', 'belljar:cancel'
local TOPIC_GIVEN = 'belljar:given:'     -- + dispatcher
-- What tasks went through that have not ended, for those who watch: Q queued, R running, G both, and their ids.
-- Where nobody does, it costs a microsecond.
local TOPIC_MOVED = 'belljar:moved'

local LANE_WIDTH = 1e13 -- sequence numbers of one lane; lane * width prints exactly below 1e14
local RETRY_LANE = 0
local FENCE_AT = 54     -- where ` <attempt> ` stands in a state
local CHUNK = 4000      -- most values that one command gets: Lua's stack ends at 8,000
local MOST_STATE_BYTES = 65536
local IS_MISSING = 'TRYAGAIN a large value has not been written'
local LARGE_AT, PLUS = 18, 43 -- where a live card says that its arguments are large, and how

-- The time in microseconds, as text, and in milliseconds, as a number.
local function clock()
  local t = redis.call('TIME')
  local us = t[1] .. string.format('%06d', t[2])
  return us, tonumber(string.sub(us, 1, 13))
end

-- Gives `items` to a command that writes any number of them, after `key` where it has one. Returns
-- the command's last answer.
local function write_all(command, key, items)
  local answer
  for from = 1, #items, CHUNK do
    local to = math.min(from + CHUNK - 1, #items)
    if key then
      answer = redis.call(command, key, unpack(items, from, to))
    else
      answer = redis.call(command, unpack(items, from, to))
    end
  end
  return answer
end

-- The answers of a command that reads any number of `items`, in their order.
local function read_all(command, key, items)
  local answers = {}
  for from = 1, #items, CHUNK do
    local to = math.min(from + CHUNK - 1, #items)
    local part
    if key then
      part = redis.call(command, key, unpack(items, from, to))
    else
      part = redis.call(command, unpack(items, from, to))
    end
    if from == 1 and to == #items then return part end
    for i = 1, to - from + 1 do answers[from + i - 1] = part[i] end
  end
  return answers
end

local function cards_of(ids)
  local keys = {}
  for i, id in ipairs(ids) do keys[i] = TASK .. id end
  return read_all('MGET', nil, keys)
end

-- The table `map[name]`, made where it is missing.
local function list_in(map, name)
  local list = map[name]
  if not list then
    list = {}
    map[name] = list
  end
  return list
end

local function count(changes)
  for name, change in pairs(changes) do
    if change ~= 0 then redis.call('HINCRBY', COUNTS, name, change) end
  end
end

-- Queues ids: `queues` maps a class to scores and ids in turn. Wakes the dispatchers that wait for them;
-- `wants` is all of WANTS, where the caller has read it.
local function enqueue(queues, wants)
  local woken = {}
  wants = wants or redis.call('HGETALL', WANTS)
  for class, items in pairs(queues) do
    write_all('ZADD', QUEUE .. class, items)
    redis.call('SADD', CLASSES, class)
    for i = 1, #wants, 2 do
      if string.find(wants[i + 1], ' ' .. class .. ' ', 1, true) then woken[#woken + 1] = wants[i] end
    end
  end
  if #woken > 0 then
    redis.call('HDEL', WANTS, unpack(woken))
    redis.call('PUBLISH', TOPIC_WORK, 'work')
  end
end

-- Queues delayed tasks that are due, at most `most`.
local function queue_due(ms, most)
  local ids = redis.call('ZRANGE', DELAYED, '-inf', ms, 'BYSCORE', 'LIMIT', 0, most)
  if #ids == 0 then return end
  local last = redis.call('HINCRBY', COUNTS, 'sequence', #ids)
  local queues, moved = {}, 0
  local cards = cards_of(ids)
  for i = 1, #ids do
    local card = cards[i]
    local class, lane = string.match(card or '', '^L%d+[ +](%S+) (%d)\n')
    if class then
      local items = list_in(queues, class)
      items[#items + 1] = lane * LANE_WIDTH + last - #ids + i .. ''
      items[#items + 1] = ids[i]
      moved = moved + 1
    end
  end
  write_all('ZREM', DELAYED, ids)
  enqueue(queues)
  count({ delayed = -#ids, queued = moved })
end
