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
  -- Seldom called.
  local ms = tonumber(string.sub(ends.us, 1, 13))
  local part = math.max(1000, math.floor((ends.expires - ms) / KEPT_IN_PARTS))
  local expiry = math.ceil(ends.expires / part) * part
  for tenant, use in pairs(ends.uses) do
    local used = usage_of(tenant, ends.us)
    used[USED_TASKS], used[USED_BYTES] = used[USED_TASKS] - use.tasks, used[USED_BYTES] - use.bytes
    for _, period in ipairs({ USED_HOUR, USED_DAY }) do
      used[period + 1], used[period + 2] = used[period + 1] + use.cpu, used[period + 2] + use.memory
    end
    keep_until(tenant, used, use.kept, expiry)
    save_usage(tenant, used)
  end
end
