-- Where tasks stand.
--
-- ARGV: task ids. Returns for each: nil for an unknown id, Q or R and its tenant, or the record of one that has
-- ended.
local answers = records_of(ARGV)
local states = read_all('HMGET', UNFINISHED, ARGV)
for i = 1, #ARGV do
  local record, state = answers[i], states[i]
  if record and string.sub(record, 1, 1) == 'L' then
    answers[i] = (state and string.sub(state, 1, 1) ~= 'Q' and 'R' or 'Q') .. tenant_of(record)
  end
end
return answers
