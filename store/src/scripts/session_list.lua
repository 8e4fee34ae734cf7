-- Sessions of a tenant: one, or a page of them, the newest first.
--
-- ARGV: the tenant, '' for the default one; and one id; or '', the time in us before which they were made, and how many.
-- Returns the time before which further ones were made, '' where there are none; and for each: id, what was fixed, time it was made in us, its
-- lifetime in ms, its active task or '', how many wait, how many have ended, the bytes of its state, and when it expires in ms, or 0
-- while it has calls.
local LOOKED_AT = 5000 -- of which many may have expired
local tenant, page = ARGV[1], { '' }
local made = SESSIONS_MADE .. tenant
local _, ms = clock()

local function show(id)
  local name = SESSION .. id
  local found = redis.call('HMGET', name, 'tenant', 'spec', 'created', 'ttl', 'active', 'calls', 'bytes')
  if found[1] ~= tenant then return end
  local left = redis.call('PTTL', name)
  page[#page + 1] = {
    id, found[2], found[3], found[4], found[5] or '', redis.call('LLEN', SESSION_TASKS .. id), found[6], found[7] or 0,
    left < 0 and 0 or string.format('%.0f', ms + left),
  }
end

if ARGV[2] ~= '' then
  show(ARGV[2])
  return page
end
local before, most, looked = ARGV[3], tonumber(ARGV[4]), 0
while #page <= most and looked < LOOKED_AT do
  local found = redis.call('ZRANGE', made, '(' .. before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most + 1 - #page, 'WITHSCORES')
  if #found == 0 then return page end
  for i = 1, #found, 2 do show(found[i]) end
  before, looked = found[#found], looked + #found / 2
end
if redis.call('ZCOUNT', made, '-inf', '(' .. before) > 0 then page[1] = before end
return page
