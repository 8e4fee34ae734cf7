-- Accepts tasks: all of them or none.
--
-- ARGV: most queued tasks, most recent ids, lifetime of idempotency keys in seconds, number of groups;
-- for each group its class and lane; for each task its id, the card after the time, its arguments
-- (passed over where they are large), its group, and either nothing or `<delay ms> <body hash> <idempotency key>`.
-- A task whose id is known was accepted before and its answer lost: it is passed over.
-- Tasks for which a dispatcher waits are handed to it here and now, as if it had claimed them: that
-- spares the first task of an idle system a round trip.
-- Returns: 'accepted' and, for each task that has an older one's id, its place and that id; or
-- 'conflict', the key and its task; or 'full' and how many are queued.
local groups_from = 4
local tasks_from = groups_from + 2 * ARGV[4]
local total = (#ARGV - tasks_from) / 5
local MOST_GIVEN_BYTES = 65536

local older, keys_new, fresh, card_keys, extras = { 'accepted' }, {}, {}, {}, {}
for i = 1, total do
  local at = tasks_from + 5 * (i - 1)
  local id, extra, known = ARGV[at + 1], ARGV[at + 5], nil
  if extra ~= '' then
    local delay, body, key = string.match(extra, '^(%d+) (%x*) (.*)$')
    if body ~= '' then
      known = keys_new[key] or redis.call('GET', KEY .. key)
      if known and not keys_new[key] and redis.call('EXISTS', TASK .. string.sub(known, 1, 36)) == 0 then
        known = nil
      end
      if known and string.sub(known, 37) ~= body then
        return { 'conflict', key, string.sub(known, 1, 36) }
      end
      if not known then keys_new[key] = id .. body end
    end
    extras[i] = tonumber(delay)
  end
  if known and string.sub(known, 1, 36) ~= id then
    older[#older + 1] = i
    older[#older + 1] = string.sub(known, 1, 36)
  else
    fresh[#fresh + 1] = i
    card_keys[#card_keys + 1] = TASK .. id
  end
end
if #fresh == 0 then return older end

local found = 0
for from = 1, #card_keys, CHUNK do
  found = found + redis.call('EXISTS', unpack(card_keys, from, math.min(from + CHUNK - 1, #card_keys)))
end
if found > 0 then
  local missing = {}
  for n, i in ipairs(fresh) do
    if redis.call('EXISTS', card_keys[n]) == 0 then missing[#missing + 1] = i end
  end
  fresh = missing
  if #fresh == 0 then return older end
end
for _, i in ipairs(fresh) do
  local at = tasks_from + 5 * (i - 1)
  if string.byte(ARGV[at + 2]) == PLUS and redis.call('EXISTS', LARGE_ARGS .. ARGV[at + 1]) == 0 then
    return redis.error_reply(IS_MISSING)
  end
end

local counts = redis.call('HMGET', COUNTS, 'accepted', 'queued', 'delayed', 'running', 'sequence')
for i = 1, 5 do counts[i] = tonumber(counts[i] or 0) end
local accepted, queued_now, delayed_now, running, sequence = unpack(counts)
local waiting = queued_now + delayed_now
if waiting + #fresh > tonumber(ARGV[1]) then return { 'full', waiting } end

-- What a dispatcher still waits for once it has got `n` tasks of a class; nil where it does not wait for
-- so many.
local function without(wants, class, n)
  local left, found = '', false
  for count, classes in string.gmatch(wants, '(%d+)( [^;]*);') do
    count = tonumber(count)
    if not found and count >= n and string.find(classes, ' ' .. class .. ' ', 1, true) then
      count, found = count - n, true
    end
    if count > 0 then left = left .. count .. classes .. ';' end
  end
  return found and left or nil
end

-- Hands tasks of one class to a dispatcher that waits for as many. Says whether one took them; the
-- message is read by `notify.rs`: W where the dispatcher waits for more and C where it has to claim
-- first, and for each task its id, `<#card> <#args>\n`, its card and its arguments.
local function hand_over(wants, class, us, ids, cards, args)
  for i = 1, #wants, 2 do
    local dispatcher, left = wants[i], without(wants[i + 1], class, #ids)
    if left then
      local message, state = { left == '' and 'C' or 'W' }, 'R' .. dispatcher .. us .. ' 1 0 0'
      local states = {}
      for n, id in ipairs(ids) do
        local card, arg = cards[2 * n], args[2 * n]
        message[n + 1] = id .. #card .. ' ' .. #arg .. '\n' .. card .. arg
        states[2 * n - 1], states[2 * n] = id, state
      end
      -- Where nobody hears it, the dispatcher is gone, or its subscription is.
      if redis.call('PUBLISH', TOPIC_GIVEN .. dispatcher, table.concat(message)) > 0 then
        if left == '' then
          redis.call('HDEL', WANTS, dispatcher)
        else
          redis.call('HSET', WANTS, dispatcher, left)
        end
        write_all('HSET', ATTEMPTS, states)
        write_all('SADD', HELD .. dispatcher, ids)
        return true
      end
    end
  end
  return false
end

local us, ms = clock()
local cards, args, ids, delayed, queues, lists, first, bytes = {}, {}, {}, {}, {}, {}, {}, 0
for g = 1, ARGV[4] do
  local class, lane = ARGV[groups_from + 2 * g - 1], ARGV[groups_from + 2 * g]
  first[g], lists[g] = lane * LANE_WIDTH + sequence, class
end
local prefix = 'L' .. us
for n, i in ipairs(fresh) do
  local at = tasks_from + 5 * (i - 1)
  local id, group, delay = ARGV[at + 1], tonumber(ARGV[at + 4]), extras[i]
  ids[n] = id
  local card, arg = ARGV[at + 2], ARGV[at + 3]
  cards[2 * n - 1], cards[2 * n] = TASK .. id, prefix .. card
  if string.byte(card) == PLUS then
    redis.call('PERSIST', LARGE_ARGS .. id)
    bytes = MOST_GIVEN_BYTES + 1
  else
    args[#args + 1], args[#args + 2] = id, arg
    bytes = bytes + #card + #arg
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
write_all('MSET', nil, cards)
write_all('HSET', ARGS, args)
for key, value in pairs(keys_new) do redis.call('SET', KEY .. key, value, 'EX', ARGV[3]) end
if #delayed > 0 then
  local earliest = redis.call('ZRANGE', DELAYED, 0, 0)[1]
  write_all('ZADD', DELAYED, delayed)
  if redis.call('ZRANGE', DELAYED, 0, 0)[1] ~= earliest then
    redis.call('PUBLISH', TOPIC_WORK, 'delayed')
  end
end
local given, wants = 0, redis.call('HGETALL', WANTS)
if ARGV[4] == '1' and #delayed == 0 and bytes <= MOST_GIVEN_BYTES
  and hand_over(wants, lists[1], us, ids, cards, args) then
  given = #ids
else
  enqueue(queues, wants)
end
redis.call('PUBLISH', TOPIC_MOVED, (given > 0 and 'G' or 'Q') .. table.concat(ids))
-- Trimmed in strides: a trim for every task would cost as much as the push.
if write_all('LPUSH', RECENT, ids) > ARGV[2] + 1000 then redis.call('LTRIM', RECENT, 0, ARGV[2] - 1) end
redis.call('HSET', COUNTS, 'accepted', accepted + #fresh, 'sequence', sequence + #fresh,
  'queued', queued_now + #fresh - given - #delayed / 2, 'delayed', delayed_now + #delayed / 2,
  'running', running + given)
return older
