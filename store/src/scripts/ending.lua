-- Stands, after shared.lua, in front of the scripts that end attempts. Apart from it since a function
-- that a script does not need still costs it time.

-- Collects the ends of tasks; `publish_ended` writes what they have in common.
local function open_end(us, ms, ttl_ms)
  return {
    us = us, expires = string.format('%.0f', ms + ttl_ms),
    ended = {}, told = {}, told_bytes = 0, held = {},
    counts = { running = 0, completed = 0, failed = 0, cancelled = 0 },
  }
end

local STATUS_OF = { C = 'completed', F = 'failed', X = 'cancelled' }

-- Results are told with the end while they are short: who waits is spared a look at the store. Failures
-- are looked at: their kind stands in the ending.
local MOST_TOLD_BYTES, MOST_TOLD_TOGETHER = 1024, 65536

-- Writes the last card of a task, which then expires. A `large` result is taken over from the key that
-- this names, and `result` is its length.
local function seal(ends, id, letter, card, state, ending, result, large)
  local apart = ''
  if large then
    redis.call('RENAME', large, LARGE_RESULT .. id)
    redis.call('PEXPIREAT', LARGE_RESULT .. id, ends.expires)
    apart, result = ' ' .. result, ''
  end
  if string.byte(card, LARGE_AT) == PLUS then redis.call('UNLINK', LARGE_ARGS .. id) end
  redis.call('SET', TASK .. id,
    letter .. ends.us .. ' ' .. ends.expires .. ' ' .. #card .. ' ' .. #state .. ' ' .. #ending .. apart
      .. '\n' .. card .. state .. ending .. result,
    'PXAT', ends.expires)
  local n, told = #ends.ended + 1, ':'
  if letter ~= 'F' and not large and #result <= MOST_TOLD_BYTES and ends.told_bytes < MOST_TOLD_TOGETHER then
    told = #result .. ':' .. result
    ends.told_bytes = ends.told_bytes + #result
  end
  ends.ended[n], ends.told[n] = id, id .. letter .. told
  local status = STATUS_OF[letter]
  ends.counts[status] = ends.counts[status] + 1
end

-- Notes that the dispatcher of `state` holds the task no longer.
local function let_go(ends, id, state)
  local ids = list_in(ends.held, string.sub(state, 2, 37))
  ids[#ids + 1] = id
  ends.counts.running = ends.counts.running - 1
end

-- The message: `<expires ms>\n`, and for each task its id, the letter of its status, and its result
-- after `<length>:`, or `:` alone where it is too long to be told. `notify.rs` reads it.
local function publish_ended(ends)
  for dispatcher, ids in pairs(ends.held) do write_all('SREM', HELD .. dispatcher, ids) end
  if #ends.ended > 0 then
    write_all('HDEL', ATTEMPTS, ends.ended)
    write_all('HDEL', ARGS, ends.ended)
    redis.call('PUBLISH', TOPIC_ENDED, ends.expires .. '\n' .. table.concat(ends.told))
  end
  count(ends.counts)
end

-- Whether `state` is of a running attempt with this fence, ` <attempt> `.
local function is_open(state, fence)
  return state and string.sub(state, 1, 1) ~= 'Q'
    and string.sub(state, FENCE_AT, FENCE_AT + #fence - 1) == fence
end

-- Takes running attempts back from dispatchers. `given` holds for each: id, state, kind (U unstarted,
-- D died, V its dispatcher vanished) and evidence. A task that a client cancelled ends; one that lost
-- too many dispatchers fails; the others are queued in front. `final` holds the ending of cancelled
-- ones, the most attempts, and ending and result of those that fail. Returns a letter for each: A
-- taken back, C ended as cancelled.
local function take_back(ends, given, final)
  local ids, answers, queues, states, queued = {}, {}, {}, {}, {}
  for i, task in ipairs(given) do ids[i] = task.id end
  local cards = cards_of(ids)
  local sequence = redis.call('HINCRBY', COUNTS, 'sequence', #ids) - #ids
  for i, task in ipairs(given) do
    local attempt, uncounted, deaths, losses =
      string.match(task.state, '^ (%d+) (%d+) (%d+)(.*)$', FENCE_AT)
    if task.kind == 'U' then
      uncounted = uncounted + 1
    elseif #task.state < MOST_STATE_BYTES then
      losses = losses .. '\30attempt ' .. attempt .. ': ' .. task.evidence
    end
    if task.kind == 'D' then deaths = deaths + 1 end
    let_go(ends, task.id, task.state)
    local state = 'Q' .. string.sub(task.state, 2, FENCE_AT) .. attempt .. ' ' .. uncounted .. ' '
      .. deaths .. losses
    local class = string.match(cards[i] or '', '^L%d+[ +](%S+) ')
    answers[i] = 'A'
    if string.sub(task.state, 1, 1) == 'X' then
      seal(ends, task.id, 'X', cards[i], state, final.cancelled, '')
      answers[i] = 'C'
    elseif task.kind == 'V' and attempt - uncounted >= final.most then
      seal(ends, task.id, 'F', cards[i], state, final.ending, final.result)
    elseif class then
      local items = list_in(queues, class)
      items[#items + 1] = RETRY_LANE * LANE_WIDTH + sequence + i .. ''
      items[#items + 1] = task.id
      states[#states + 1] = task.id
      states[#states + 1] = state
      queued[#queued + 1] = task.id
    end
  end
  write_all('HSET', ATTEMPTS, states)
  enqueue(queues)
  count({ queued = #queued })
  if #queued > 0 then redis.call('PUBLISH', TOPIC_MOVED, 'Q' .. table.concat(queued)) end
  return answers
end

-- Takes back at most `most` of what a dispatcher holds; returns how many. Forgets the dispatcher once
-- nothing is left.
local function take_from(ends, dispatcher, most, kind, final)
  local ids = redis.call('SRANDMEMBER', HELD .. dispatcher, most)
  local given, unknown = {}, {}
  for i, state in ipairs(read_all('HMGET', ATTEMPTS, ids)) do
    if state then
      given[#given + 1] = { id = ids[i], state = state, kind = kind, evidence = 'its dispatcher vanished' }
    else
      unknown[#unknown + 1] = ids[i]
    end
  end
  if #given > 0 then take_back(ends, given, final) end
  write_all('SREM', HELD .. dispatcher, unknown)
  publish_ended(ends)
  if #ids < most then
    redis.call('ZREM', DISPATCHERS, dispatcher)
    redis.call('HDEL', WATCHING, dispatcher)
    redis.call('HDEL', OFFERS, dispatcher)
    redis.call('HDEL', WANTS, dispatcher)
  end
  return #ids
end
