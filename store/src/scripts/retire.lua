-- Takes back the tasks leased to a leaving dispatcher, and forgets it once nothing is left.
--
-- ARGV: dispatcher; most tasks to move at once; lifetime of results in ms; the outcome of cancelled tasks.
-- Returns 1 where more may be left, and 0 once it is forgotten.
local us, ms = clock()
local most = tonumber(ARGV[2])
local taken = take_from(begin_ends(us, ms, ARGV[3]), ARGV[1], most, 'U', { cancelled = ARGV[4] })
return taken == most and 1 or 0
