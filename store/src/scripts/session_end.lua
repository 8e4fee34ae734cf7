-- Deletes a session. Calls of it that wait are cancelled; one that runs ends, and what it leaves is dropped.
--
-- ARGV: its id; the tenant, '' for the default one; lifetime of results in ms; the outcome of cancelled tasks.
-- Returns 1, or 0 for an unknown one.
local session, tenant = ARGV[1], ARGV[2]
local name = SESSION .. session
local found = redis.call('HMGET', name, 'tenant', 'active')
if found[1] ~= tenant then return 0 end
local us, ms = clock()
local ends = begin_ends(us, ms, ARGV[3])
local waiting = redis.call('LRANGE', SESSION_TASKS .. session, 0, -1)
local active = found[2]
count_state(session, tenant, 0, 0, us, ms)
count({ in_sessions = -#waiting })
redis.call('UNLINK', name, SESSION_STATE .. session, SESSION_TASKS .. session)
redis.call('ZREM', SESSIONS .. tenant, session)
redis.call('ZREM', SESSIONS_MADE .. tenant, session)
local function cancel(id, record, state, from)
  if record and string.sub(record, 1, 1) == 'L' then
    finalize(ends, id, 'X', record, state or '', ARGV[4], '')
    ends.counts[from] = (ends.counts[from] or 0) - 1
  end
end
for i, record in ipairs(records_of(waiting)) do cancel(waiting[i], record, '', 'queued') end
local record = active and redis.call('GET', TASK .. active)
if record and string.sub(record, 1, 1) == 'L' then
  local state = redis.call('HGET', UNFINISHED, active)
  if redis.call('ZREM', QUEUE .. queue_of(record), active) == 1 then
    cancel(active, record, state, 'queued')
  elseif redis.call('ZREM', DELAYED, active) == 1 then
    cancel(active, record, state, 'delayed')
  end
end
publish_ended(ends)
return 1
