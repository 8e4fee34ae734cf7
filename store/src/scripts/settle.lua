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
  local ms = tonumber(string.sub(ends.us, 1, 13))
  local part = math.max(1000, math.floor((ends.expires - ms) / KEPT_IN_PARTS))
  local expiry = math.ceil(ends.expires / part) * part
  for tenant, use in pairs(ends.uses) do
    local used, began = usage_of(tenant, ends.us)
    local changed = {
      'tasks', used[USED_TASKS] - use.tasks, 'bytes', used[USED_BYTES] - use.bytes + use.kept,
      'hour_cpu', used[USED_HOUR + 1] + use.cpu, 'day_cpu', used[USED_DAY + 1] + use.cpu,
    }
    local function set(field, value) changed[#changed + 1], changed[#changed + 2] = field, value end
    if began or use.memory > 0 then
      set('hour_memory', used[USED_HOUR + 2] + use.memory)
      set('day_memory', used[USED_DAY + 2] + use.memory)
    end
    if began then
      set('hour', used[USED_HOUR])
      set('day', used[USED_DAY])
    end
    if used[USED_EXPIRY] == 0 or expiry < used[USED_EXPIRY] then set('expiry', expiry) end
    redis.call('HSET', USAGE .. tenant, unpack(changed))
    redis.call('HINCRBY', EXPIRING .. tenant, expiry, use.kept)
  end
end
