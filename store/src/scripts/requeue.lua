-- Takes back attempts that their dispatcher returns, each under its fence.
--
-- ARGV: lifetime of results in ms; the outcome of cancelled tasks; for each attempt the task's id, its
-- fence, and U (it never began) or D and the evidence of its death.
-- Returns a text with a letter for each: A queued again, C ended as cancelled, S stale.
local us, ms = clock()
local ends = begin_ends(us, ms, ARGV[1])
local total = (#ARGV - 2) / 4
local ids, attempts, places, answers, seen = {}, {}, {}, {}, {}
for i = 1, total do ids[i] = ARGV[4 * i - 1] end
for i, state in ipairs(read_all('HMGET', UNFINISHED, ids)) do
  answers[i] = 'S'
  if not seen[ids[i]] and is_open(state, ARGV[4 * i]) then
    seen[ids[i]] = true
    attempts[#attempts + 1] =
      { id = ids[i], state = state, kind = ARGV[4 * i + 1], evidence = ARGV[4 * i + 2] }
    places[#places + 1] = i
  end
end
if #attempts > 0 then
  for n, letter in ipairs(take_back(ends, attempts, { cancelled = ARGV[2] })) do
    answers[places[n]] = letter
  end
end
publish_ended(ends)
return table.concat(answers)
