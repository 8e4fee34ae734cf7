-- Functions of the scripts that end attempts: what tenants use whose tasks are counted, once these have ended.

-- Results count as expired a part of their lifetime later than they do, so that a tenant has few such times.
local KEPT_IN_PARTS = 16

-- Notes that a task has ended, of which so many bytes are kept and which has used `<processor us> <MiB times ms>`, and
-- left files of `[ <bytes>]`.
local function note_end(ends, record, kept, used)
  local tenant, bytes = string.match(record, '^[^\n]*' .. TENANT_MARK .. '([^\n]*)%' .. COUNTED_MARK .. '(%d+)\n')
  if not tenant then return end
  ends.uses = ends.uses or {}
  local use, cpu, memory, files = list_in(ends.uses, tenant), string.match(used or '', '(%d+) (%d+) ?(%d*)')
  kept = kept + (tonumber(files) or 0)
  use.tasks, use.bytes, use.kept = (use.tasks or 0) + 1, (use.bytes or 0) + bytes, (use.kept or 0) + kept
  use.cpu, use.memory = (use.cpu or 0) + (cpu or 0), (use.memory or 0) + (memory or 0)
end

-- Counts what was noted: see usage.lua.
local function settle(ends)
  local now, ms = tonumber(string.sub(ends.us, 1, -7)), tonumber(string.sub(ends.us, 1, 13))
  local part = math.max(1000, math.floor((ends.expires - ms) / KEPT_IN_PARTS))
  local expiry = math.ceil(ends.expires / part) * part
  for tenant, use in pairs(ends.uses) do
    local key = USAGE .. tenant
    local known = redis.call('HMGET', key,
      'tasks', 'bytes', 'expiry', 'hour', 'hour_cpu', 'hour_memory', 'day', 'day_cpu', 'day_memory')
    for i = 1, 9 do known[i] = tonumber(known[i] or 0) end
    local hour, day = math.floor(now / 3600), math.floor(now / 86400)
    if known[4] ~= hour then known[5], known[6] = 0, 0 end
    if known[7] ~= day then known[8], known[9] = 0, 0 end
    redis.call('HSET', key, 'tasks', known[1] - use.tasks, 'bytes', known[2] - use.bytes + use.kept,
      'expiry', known[3] > 0 and math.min(known[3], expiry) or expiry,
      'hour', hour, 'hour_cpu', known[5] + use.cpu, 'hour_memory', known[6] + use.memory,
      'day', day, 'day_cpu', known[8] + use.cpu, 'day_memory', known[9] + use.memory)
    redis.call('HINCRBY', EXPIRING .. tenant, expiry, use.kept)
  end
end
