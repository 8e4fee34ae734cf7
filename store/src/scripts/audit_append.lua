-- Appends lines to the audit log, all or none, if its newest line ends as the caller knows.
--
-- ARGV: the end of the newest line, '' where the caller knows none; how many lines are kept, 0 for all; the lines.
-- Returns nothing, or the newest line where that is another.
local newest = redis.call('XREVRANGE', AUDIT_LOG, '+', '-', 'COUNT', 1)[1]
if newest then
  local line = newest[2][2]
  if string.sub(line, -#ARGV[1]) ~= ARGV[1] or ARGV[1] == '' then return line end
end
for i = 3, #ARGV do
  if ARGV[2] == '0' then
    redis.call('XADD', AUDIT_LOG, '*', 'line', ARGV[i])
  else
    redis.call('XADD', AUDIT_LOG, 'MAXLEN', '~', ARGV[2], '*', 'line', ARGV[i])
  end
end
return false
