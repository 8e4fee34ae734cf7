-- Uploaded values: whose they are, until when they are kept, and what that tenant has of them.
--
-- ARGV: what to do; the id; the tenant, '' for the default one; for how many ms from now on; bytes; how many bytes the tenant may
-- have, '' where there is no bound; the SHA-256 hash; the reference to its file.
--   reserve: counts the bytes of one that is being uploaded
--   keep: it is there
--   use: keeps it for longer
--   drop: forgets it; its bytes are counted on until it would have expired where the hash is 'held': tasks still need it
-- Returns: nil for an unknown one; 'reserved', 'kept' or 'dropped' and its record; or 'bytes' and how many the tenant has.
local what, id, tenant, ttl, bytes = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local us, ms = clock()
-- Rounded, so that a tenant has few such times.
local part = math.max(1000, math.floor(ttl / KEPT_IN_PARTS))
local ends = string.format('%.0f', math.ceil((ms + ttl) / part) * part)

local used = usage_of(tenant, us)

local record = redis.call('GET', UPLOAD .. id)
local front, stored, kept_until, whose = string.match(record or '', '^(%S+ (%d+) %x+ )(%d+) @(.*)$')
if front and whose ~= tenant then return nil end
if what == 'use' or (front and what == 'keep') then
  if not front then return nil end
  -- Not at every use: half of its time is left.
  if kept_until - ms < ttl / 2 then
    keep_no_more(tenant, used, stored, tonumber(kept_until))
    keep_until(tenant, used, stored, tonumber(ends))
    save_usage(tenant, used)
    record = front .. ends .. ' @' .. tenant
    redis.call('SET', UPLOAD .. id, record, 'PXAT', ends)
  end
  return { 'kept', record }
end
if what == 'drop' then
  if not front then return nil end
  redis.call('DEL', UPLOAD .. id)
  if ARGV[7] ~= 'held' then
    keep_no_more(tenant, used, stored, tonumber(kept_until))
    save_usage(tenant, used)
  end
  return { 'dropped', record }
end
if front then return { 'kept', record } end
local reserved, reserved_until = string.match(redis.call('GET', UPLOADING .. id) or '', '^(%d+) (%d+)$')
if reserved then keep_no_more(tenant, used, reserved, tonumber(reserved_until)) end
redis.call('DEL', UPLOADING .. id)
local has = stored_bytes(tenant, used, ms)
local is_over = ARGV[6] ~= '' and has + bytes > tonumber(ARGV[6])
if not is_over then keep_until(tenant, used, bytes, tonumber(ends)) end
save_usage(tenant, used)
if is_over then return { 'bytes', has } end
if what == 'reserve' then
  redis.call('SET', UPLOADING .. id, bytes .. ' ' .. ends, 'PXAT', ends)
  return { 'reserved' }
end
record = ARGV[8] .. ' ' .. ARGV[7] .. ' ' .. ends .. ' @' .. tenant
redis.call('SET', UPLOAD .. id, record, 'PXAT', ends)
return { 'kept', record }
