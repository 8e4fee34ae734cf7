-- Functions of the scripts that have to do with sessions, whose calls run one after the other.
--
-- SESSION holds of each: `tenant`, and `spec`, what was fixed; `created` in us; `ttl` in ms; `active`, its task that is queued or
-- runs, where there is one: then nothing of it expires; `calls` that have ended; `bytes` of its state, `until` when they are
-- counted. SESSION_TASKS has the tasks that wait behind the active one (COUNTS counts them as queued, and all together as `in_sessions`),
-- SESSION_STATE what the last call has left.

-- Parts of its lifetime, in which a state is counted as expired: see `settle.lua`.
local STATE_KEPT_IN_PARTS = 16

-- The session of the task with a live record that names a tenant; nil for most.
local function session_of(record)
  return string.match(record, '^[^\n]* %d' .. SESSION_MARK .. '([^' .. TENANT_MARK .. ']+)')
end

-- Counts the bytes of a session's state until it expires, in place of what was counted.
local function count_state(session, tenant, bytes, ttl, ms)
  local name = SESSION .. session
  local before = redis.call('HMGET', name, 'bytes', 'until')
  if before[2] and redis.call('HEXISTS', EXPIRING .. tenant, before[2]) == 1 then
    redis.call('HINCRBY', EXPIRING .. tenant, before[2], -before[1])
    redis.call('HINCRBY', USAGE .. tenant, 'bytes', -before[1])
  end
  local part = math.max(1000, math.floor(ttl / STATE_KEPT_IN_PARTS))
  local ends = math.ceil((ms + ttl) / part) * part
  if bytes > 0 then
    redis.call('HINCRBY', USAGE .. tenant, 'bytes', bytes)
    keep_until(tenant, bytes, ends)
    redis.call('HSET', name, 'bytes', bytes, 'until', string.format('%.0f', ends))
  else
    redis.call('HDEL', name, 'bytes', 'until')
  end
end

-- Lets a session expire from now on.
local function rest(session, tenant, ttl, ms)
  local ends = string.format('%.0f', ms + ttl)
  redis.call('PEXPIREAT', SESSION .. session, ends)
  redis.call('PEXPIREAT', SESSION_STATE .. session, ends)
  redis.call('ZADD', SESSIONS .. tenant, ends, session)
end

-- Keeps a session while it has calls.
local function keep_session(session, tenant)
  redis.call('PERSIST', SESSION .. session)
  redis.call('PERSIST', SESSION_STATE .. session)
  redis.call('ZADD', SESSIONS .. tenant, 'inf', session)
end

-- Whether a task waited behind others of its session: it does no more.
local function leave_session(session, id)
  local left = redis.call('LREM', SESSION_TASKS .. session, 1, id) == 1
  if left then redis.call('HINCRBY', COUNTS, 'in_sessions', -1) end
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
  local following, record = next_of_session(session)
  if following then
    redis.call('PERSIST', SESSION_STATE .. session)
    redis.call('HSET', name, 'active', following)
    ends.promoted = ends.promoted or {}
    local items = list_in(ends.promoted, (queue_of(record)))
    local priority = string.match(record, '^L%d+%W%S+ (%d)')
    items[#items + 1] = priority * PRIORITY_WIDTH + redis.call('HINCRBY', COUNTS, 'sequence', 1) .. ''
    items[#items + 1] = following
  else
    redis.call('HDEL', name, 'active')
    rest(session, tenant, ttl, ms)
  end
  count_state(session, tenant, bytes, ttl, ms)
end
