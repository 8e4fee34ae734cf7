-- Where tasks stand.
--
-- ARGV: task ids. Returns for each: nil for an unknown id, Q, R, or the card of one that has ended.
local answers = cards_of(ARGV)
local states = read_all('HMGET', ATTEMPTS, ARGV)
for i = 1, #ARGV do
  local card, state = answers[i], states[i]
  if card and string.sub(card, 1, 1) == 'L' then
    answers[i] = state and string.sub(state, 1, 1) ~= 'Q' and 'R' or 'Q'
  end
end
return answers
