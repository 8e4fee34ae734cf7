-- Cancels a task.
--
-- ARGV: task id; lifetime of results in ms; the outcome of cancelled tasks; whose task it must be, or '*'.
-- Returns: nil for an unknown id, and for another's task; 'cancelled'; 'stopping' for one that runs; else the letter of the
-- status in which it had ended.
local id = ARGV[1]
local record = redis.call('GET', TASK .. id)
if not record then return nil end
local letter = string.sub(record, 1, 1)
-- The live record is inside the one of a task that has ended.
local live = letter == 'L' and record or string.match(record, '\n(.*)') or ''
if ARGV[4] ~= '*' and tenant_of(live) ~= ARGV[4] then return nil end
if letter ~= 'L' then return letter end

local state = redis.call('HGET', UNFINISHED, id)
if state and string.sub(state, 1, 1) ~= 'Q' then
  redis.call('HSET', UNFINISHED, id, 'X' .. string.sub(state, 2))
  -- Published each time: the dispatcher may have missed the last one.
  redis.call('PUBLISH', TOPIC_CANCEL, id)
  return 'stopping'
end

local us, ms = clock()
local ends = begin_ends(us, ms, ARGV[2])
if redis.call('ZREM', DELAYED, id) == 1 then
  ends.counts.delayed = -1
elseif redis.call('ZREM', QUEUE .. queue_of(record), id) == 1 then
  ends.counts.queued = -1
else
  local session = session_of(record)
  if session and leave_session(session, id) then ends.counts.queued = -1 end
end
finalize(ends, id, 'X', record, state or '', ARGV[3], '')
publish_ended(ends)
return 'cancelled'
