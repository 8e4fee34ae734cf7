-- Ends attempts, each under its fence, and publishes the ids of the tasks that ended.
--
-- ARGV: lifetime of results in ms; the outcome of cancelled tasks; a dispatcher and how many places have
-- become free there since it last claimed or completed; for each attempt the task's id, its fence
-- ` <attempt> `, the letter of its status and `<processor us> <MiB times ms> <bytes of files>` that it used and left, its outcome and its result; or the letter in lower case and the length
-- of a result that is a blob. Behind the bytes of files stands `~` where it leaves something to its session.
-- Returns a text with a letter for each: A accepted, C accepted as the end of a cancelled task, S stale.
-- An attempt that was ended before in the same way gets the same answer: the first was lost.
local us, ms = clock()
local ends = begin_ends(us, ms, ARGV[1])
local total = (#ARGV - 4) / 5
local ids = {}
for i = 1, total do ids[i] = ARGV[5 * i] end
local states = read_all('HMGET', UNFINISHED, ids)
local records = records_of(ids)

-- What is answered for an attempt that is not open.
local function late(record, fence, letter, result)
  local ended, record_bytes, state_bytes, blob, body =
    string.match(record or '', '^([CFX])%d+ %d+ (%d+) (%d+) %d+ ?(%d*)\n()')
  if not ended then return 'S' end
  local state = string.sub(record, body + record_bytes, body + record_bytes + state_bytes - 1)
  if not is_open(state, fence) then return 'S' end
  if ended == 'X' then return 'C' end
  if blob ~= '' then return blob == result and ended == string.upper(letter) and 'A' or 'S' end
  if ended == letter and string.sub(record, #record - #result + 1) == result then return 'A' end
  return 'S'
end

local LEFT_STATE = 126 -- `~`
local SMALL = 96 -- lower-case letters stand behind it
local answers, seen, blob, left = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local fence, letter = ARGV[5 * i + 1], ARGV[5 * i + 2]
  if string.byte(letter) > SMALL and is_open(states[i], fence) then
    blob[i] = RESULT_BLOB .. id .. ':' .. string.sub(fence, 2, -2)
    -- Before anything is changed. The dispatcher repeats all of this and writes the blob again.
    if redis.call('EXISTS', blob[i]) == 0 then return redis.error_reply(IS_MISSING) end
  end
  if string.byte(letter, -1) == LEFT_STATE and is_open(states[i], fence) then
    left[i] = SESSION_STATE .. id .. ':' .. string.sub(fence, 2, -2)
    if redis.call('EXISTS', left[i]) == 0 then return redis.error_reply(IS_MISSING) end
  end
end

for i, id in ipairs(ids) do
  local at = 5 * i
  local state, record, fence, letter = states[i], records[i], ARGV[at + 1], string.sub(ARGV[at + 2], 1, 1)
  if seen[id] then
    answers[i] = 'S'
  elseif not record or not is_open(state, fence) then
    answers[i] = late(record, fence, letter, ARGV[at + 4])
  else
    seen[id] = true
    end_lease(ends, id, state, queue_of(record))
    if letter == 'X' or string.sub(state, 1, 1) == 'X' then
      finalize(ends, id, 'X', record, state, ARGV[2], '', nil, ARGV[at + 2])
      answers[i] = letter == 'X' and 'A' or 'C'
    else
      if blob[i] then letter = string.upper(letter) end
      finalize(ends, id, letter, record, state, ARGV[at + 3], ARGV[at + 4], blob[i], ARGV[at + 2], left[i])
      answers[i] = 'A'
    end
  end
end
publish_ended(ends)
if ARGV[4] ~= '0' then
  -- With a single demand, the places are added to it; else the dispatcher will claim.
  local demand = redis.call('HGET', DEMAND, ARGV[3]) or ''
  local count, classes = string.match(demand, '^(%d+)(' .. RESERVED_MARK .. '? [^;]*;)$')
  if string.find(demand, RESERVED_MARK, 1, true) and string.find(demand, '%f[%d]0' .. RESERVED_MARK) then
    -- Tasks may wait for a place that is not reserved.
    redis.call('HDEL', DEMAND, ARGV[3])
    redis.call('PUBLISH', TOPIC_WORK, 'work')
  elseif count then
    redis.call('HSET', DEMAND, ARGV[3], count + ARGV[4] .. classes)
  end
end
return table.concat(answers)
