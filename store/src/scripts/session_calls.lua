-- Functions of the scripts that have to do with sessions, whose calls run one after the other.
--
-- SESSION holds of each: `tenant`, and `spec`, what was fixed; `created` in us; `ttl` in ms; `active`, its task that is delayed, queued or
-- runs, where there is one: then nothing of it expires; `calls` that have ended; `bytes` of its state, `until` when they are
-- counted; `due:` and the id of a task that waits, where it is delayed as well, in ms. SESSION_TASKS has the tasks that wait behind the
-- active one (COUNTS counts them as queued, and all together as `in_sessions`), SESSION_STATE what the last call has left.

-- Parts of its lifetime, in which a state is counted as expired: see `settle.lua`.
local STATE_KEPT_IN_PARTS = 16
-- With so many calls that wait a session takes no more: it is deleted with them in one step.
local MAX_WAITING_CALLS = 1000
local DUE = 'due:'
local FORGOTTEN_AT_ONCE = 1000

-- The session of the task with a live record that names a tenant; nil for most.
local function session_of(record)
  return string.match(record, '^[^\n]* %d' .. SESSION_MARK .. '([^' .. TENANT_MARK .. ']+)')
end

-- Counts the bytes of a session's state until it expires, in place of what was counted.
local function count_state(session, tenant, bytes, ttl, us, ms)
  local name, used = SESSION .. session, usage_of(tenant, us)
  local before = redis.call('HMGET', name, 'bytes', 'until')
  if before[2] then keep_no_more(tenant, used, before[1], tonumber(before[2])) end
  -- Lifetimes are the clients' choice: by powers of two a tenant has few such times all the same.
  local part = 1024
  while part * STATE_KEPT_IN_PARTS < ttl do part = part * 2 end
  local ends = math.ceil((ms + ttl) / part) * part
  if bytes > 0 then
    keep_until(tenant, used, bytes, ends)
    redis.call('HSET', name, 'bytes', bytes, 'until', string.format('%.0f', ends))
  else
    redis.call('HDEL', name, 'bytes', 'until')
  end
  save_usage(tenant, used)
end

-- Lets a session expire from now on.
local function rest(session, tenant, ttl, ms)
  local ends = string.format('%.0f', ms + ttl)
  redis.call('PEXPIREAT', SESSION .. session, ends)
  redis.call('PEXPIREAT', SESSION_STATE .. session, ends)
  redis.call('ZADD', SESSIONS .. tenant, ends, session)
  local last = redis.call('ZRANGE', SESSIONS .. tenant, -1, -1, 'WITHSCORES')[2]
  if last ~= 'inf' then
    redis.call('PEXPIREAT', SESSIONS .. tenant, last)
    redis.call('PEXPIREAT', SESSIONS_MADE .. tenant, last)
  end
end

-- Keeps a session while it has calls.
local function keep_session(session, tenant)
  for _, key in ipairs({ SESSION .. session, SESSION_STATE .. session, SESSIONS .. tenant, SESSIONS_MADE .. tenant }) do
    redis.call('PERSIST', key)
  end
  redis.call('ZADD', SESSIONS .. tenant, 'inf', session)
end

-- Takes sessions of a tenant that have expired out of its lists. A key is there to the end of its last millisecond.
local function forget_expired(tenant, ms)
  local ids = redis.call('ZRANGE', SESSIONS .. tenant, '-inf', '(' .. ms, 'BYSCORE', 'LIMIT', 0, FORGOTTEN_AT_ONCE)
  write_all('ZREM', SESSIONS .. tenant, ids)
  write_all('ZREM', SESSIONS_MADE .. tenant, ids)
end

-- Whether a task waited behind others of its session: it does no more.
local function leave_session(session, id)
  local left = redis.call('LREM', SESSION_TASKS .. session, 1, id) == 1
  if left then
    redis.call('HINCRBY', COUNTS, 'in_sessions', -1)
    redis.call('HDEL', SESSION .. session, DUE .. id)
  end
  return left
end

-- The next task that waits in a session, and its record.
local function next_of_session(session)
  while true do
    local id = redis.call('LPOP', SESSION_TASKS .. session)
    if not id then return nil end
    redis.call('HINCRBY', COUNTS, 'in_sessions', -1)
    local record = redis.call('GET', TASK .. id)
    -- Else it was removed by hand.
    if record and string.sub(record, 1, 1) == 'L' then return id, record end
  end
end

-- Goes on with a session of which a task has ended. What it has left stands in the key `left`, where it left something.
local function end_session_call(ends, session, id, left)
  -- Seldom called.
  local name = SESSION .. session
  local found = redis.call('HMGET', name, 'active', 'tenant', 'ttl', 'bytes')
  local active, tenant, ttl, bytes = unpack(found)
  if active ~= id then
    -- The session was deleted, or the task has waited for others of it.
    leave_session(session, id)
    if left then redis.call('UNLINK', left) end
    return
  end
  ttl, bytes = tonumber(ttl), tonumber(bytes or 0)
  if left then
    bytes = redis.call('STRLEN', left)
    redis.call('RENAME', left, SESSION_STATE .. session)
  end
  redis.call('HINCRBY', name, 'calls', 1)
  local ms = tonumber(string.sub(ends.us, 1, 13))
  count_state(session, tenant, bytes, ttl, ends.us, ms)
  local following, record = next_of_session(session)
  if not following then
    redis.call('HDEL', name, 'active')
    rest(session, tenant, ttl, ms)
    return
  end
  redis.call('PERSIST', SESSION_STATE .. session)
  redis.call('HSET', name, 'active', following)
  local due = tonumber(redis.call('HGET', name, DUE .. following) or 0)
  if due > 0 then redis.call('HDEL', name, DUE .. following) end
  if due > ms then
    redis.call('ZADD', DELAYED, string.format('%.0f', due), following)
    if redis.call('ZRANGE', DELAYED, 0, 0)[1] == following then redis.call('PUBLISH', TOPIC_WORK, 'delayed') end
    ends.counts.queued, ends.counts.delayed = (ends.counts.queued or 0) - 1, (ends.counts.delayed or 0) + 1
    return
  end
  ends.promoted = ends.promoted or {}
  local items = list_in(ends.promoted, (queue_of(record)))
  local priority = string.match(record, '^L%d+%W%S+ (%d)')
  items[#items + 1] = priority * PRIORITY_WIDTH + redis.call('HINCRBY', COUNTS, 'sequence', 1) .. ''
  items[#items + 1] = following
end
