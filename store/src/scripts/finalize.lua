-- Functions of the scripts that end attempts.

-- Collects the ends of tasks; `publish_ended` writes what they have in common.
local function begin_ends(us, ms, ttl_ms)
  return {
    us = us, expires = string.format('%.0f', ms + ttl_ms),
    ended = {}, messages = {}, published_bytes = 0, leases = {}, stopped = {},
    counts = { completed = 0, failed = 0, cancelled = 0 },
  }
end

local STATUS_OF = { C = 'completed', F = 'failed', X = 'cancelled' }

-- Short results are published with the end: this spares the waiting client a read of the store. Failures
-- are read: their kind stands in the outcome.
local MAX_PUBLISHED_BYTES = 1024
local MAX_PUBLISHED_TOGETHER = 65536

-- Writes the last record of a task, which then expires. A `blob` result is taken over from the key that
-- this names, and `result` is its length. `used` is what the call used, where that is known, and `left` the key of what it leaves
-- to its session.
local function finalize(ends, id, letter, record, state, outcome, result, blob, used, left)
  local apart = ''
  if blob then
    redis.call('RENAME', blob, RESULT_BLOB .. id)
    redis.call('PEXPIREAT', RESULT_BLOB .. id, ends.expires)
    apart, result = ' ' .. result, ''
  end
  local flag = string.byte(record, FLAG_AT)
  if flag == BLOB_FLAG or flag == TENANT_BLOB_FLAG then redis.call('UNLINK', ARGS_BLOB .. id) end
  local ended = letter .. ends.us .. ' ' .. ends.expires .. ' ' .. #record .. ' ' .. #state .. ' ' .. #outcome .. apart
    .. '\n' .. record .. state .. outcome .. result
  redis.call('SET', TASK .. id, ended, 'PXAT', ends.expires)
  if flag ~= NO_FLAG and flag ~= BLOB_FLAG then
    note_end(ends, record, #ended + (tonumber(apart) or 0), used)
    local session = session_of(record)
    if session then end_session_call(ends, session, id, left) end
  end
  local n, text, tenant = #ends.ended + 1, ':', tenant_of(record)
  local whose = tenant == '' and '' or TENANT_MARK .. tenant .. ' '
  if letter ~= 'F' and not blob and #result <= MAX_PUBLISHED_BYTES and ends.published_bytes < MAX_PUBLISHED_TOGETHER then
    text = #result .. ':' .. result
    ends.published_bytes = ends.published_bytes + #result
  end
  ends.ended[n], ends.messages[n] = id, id .. letter .. whose .. text
  local status = STATUS_OF[letter]
  ends.counts[status] = ends.counts[status] + 1
end

-- Ends the lease of the task to the dispatcher of `state`. `queue` is the one that it came from, where that is known.
local function end_lease(ends, id, state, queue)
  local ids = list_in(ends.leases, string.sub(state, DISPATCHER_AT, STARTED_AT - 1))
  ids[#ids + 1] = id
  if queue then ends.stopped[queue] = (ends.stopped[queue] or 0) + 1 end
end

-- The message: `<expires ms>\n`, and for each task its id, the letter of its status, `@<tenant> ` unless it is
-- the default one, and its result after `<length>:`, or `:` alone where it is too long. `event.rs` reads it.
local function publish_ended(ends)
  for dispatcher, ids in pairs(ends.leases) do write_all('SREM', LEASES .. dispatcher, ids) end
  if #ends.ended > 0 then
    local fields = {}
    for i, id in ipairs(ends.ended) do fields[2 * i - 1], fields[2 * i] = id, id .. ARGS_MARK end
    write_all('HDEL', UNFINISHED, fields)
    redis.call('PUBLISH', TOPIC_ENDED, ends.expires .. '\n' .. table.concat(ends.messages))
  end
  for queue, n in pairs(ends.stopped) do change_running(queue, -n) end
  if ends.promoted then enqueue(ends.promoted) end
  count(ends.counts)
  if ends.uses then settle(ends) end
end

-- Whether `state` is of a running attempt with this fence, ` <attempt> `.
local function is_open(state, fence)
  return state and string.sub(state, 1, 1) ~= 'Q'
    and string.sub(state, FENCE_AT, FENCE_AT + #fence - 1) == fence
end

-- Takes running attempts back from dispatchers. `attempts` holds for each: id, state, kind (U unstarted,
-- D died, V its dispatcher vanished) and evidence. A task that a client cancelled ends; one that lost
-- too many dispatchers fails; the others are queued in front of their tenant's. `final` holds the outcome of cancelled
-- ones, the most attempts, and outcome and result of those that fail. Returns a letter for each: A
-- taken back, C ended as cancelled.
local function take_back(ends, attempts, final)
  local ids, answers, queues, states, moved, queued = {}, {}, {}, {}, {}, 0
  for i, task in ipairs(attempts) do ids[i] = task.id end
  local records = records_of(ids)
  local sequence = redis.call('HINCRBY', COUNTS, 'sequence', #ids) - #ids
  for i, task in ipairs(attempts) do
    local attempt, unstarted, deaths, failures =
      string.match(task.state, '^ (%d+) (%d+) (%d+)(.*)$', FENCE_AT)
    if task.kind == 'U' then
      unstarted = unstarted + 1
    elseif #task.state < MAX_STATE_BYTES then
      failures = failures .. FAILURE_SEPARATOR .. 'attempt ' .. attempt .. ': ' .. task.evidence
    end
    if task.kind == 'D' then deaths = deaths + 1 end
    local queue = records[i] and queue_of(records[i])
    end_lease(ends, task.id, task.state, queue)
    local state = 'Q' .. string.sub(task.state, 2, FENCE_AT) .. attempt .. ' ' .. unstarted .. ' '
      .. deaths .. failures
    answers[i] = 'A'
    if not queue then
      -- The record was removed by hand: nothing is left to queue.
    elseif string.sub(task.state, 1, 1) == 'X' then
      finalize(ends, task.id, 'X', records[i], state, final.cancelled, '')
      answers[i] = 'C'
    elseif task.kind == 'V' and attempt - unstarted >= final.most then
      finalize(ends, task.id, 'F', records[i], state, final.outcome, final.result)
    else
      local items = list_in(queues, queue)
      items[#items + 1] = RETRY_PRIORITY * PRIORITY_WIDTH + sequence + i .. ''
      items[#items + 1] = task.id
      states[#states + 1] = task.id
      states[#states + 1] = state
      local of_tenant = list_in(moved, tenant_of(records[i]))
      of_tenant[#of_tenant + 1] = task.id
      queued = queued + 1
    end
  end
  write_all('HSET', UNFINISHED, states)
  enqueue(queues)
  count({ queued = queued })
  for tenant, ids in pairs(moved) do publish_status('Q', tenant, ids) end
  return answers
end

-- Takes back at most `most` of the tasks leased to a dispatcher; returns how many. Forgets the dispatcher once
-- nothing is left.
local function take_from(ends, dispatcher, most, kind, final)
  local ids = redis.call('SRANDMEMBER', LEASES .. dispatcher, most)
  local attempts, unknown = {}, {}
  for i, state in ipairs(read_all('HMGET', UNFINISHED, ids)) do
    if state then
      attempts[#attempts + 1] = { id = ids[i], state = state, kind = kind, evidence = 'its dispatcher vanished' }
    else
      unknown[#unknown + 1] = ids[i]
    end
  end
  if #attempts > 0 then take_back(ends, attempts, final) end
  write_all('SREM', LEASES .. dispatcher, unknown)
  publish_ended(ends)
  if #ids < most then
    redis.call('ZREM', DISPATCHERS, dispatcher)
    redis.call('HDEL', ALIVE_SINCE, dispatcher)
    redis.call('HDEL', CAPABILITIES, dispatcher)
    redis.call('HDEL', DEMAND, dispatcher)
  end
  return #ids
end
