-- Functions of the scripts that accept tasks: they find the tasks of a submission that are new.

-- What an idempotency key is known for: a task's id and the hash of the body that the key came with.
-- Nothing where that task was forgotten.
local function known_key(key)
  -- Seldom called.
  local known = redis.call('GET', IDEMPOTENCY .. key)
  local id = known and string.sub(known, 1, ID_BYTES)
  -- That of a batch may not be unpacked yet.
  if id and redis.call('EXISTS', TASK .. id) == 0 and redis.call('HEXISTS', BATCHES, id) == 0 then return nil end
  return known
end

-- Looks the idempotency keys of tasks up. Returns the places of tasks to accept, the answer for those
-- that have an older one's id, the delays, and the new keys; or nothing and the answer for a conflict.
local function by_key(args, tasks_from, total)
  local places, older, delays, keys = {}, { 'accepted' }, {}, {}
  for i = 1, total do
    local at = tasks_from + 5 * (i - 1)
    local id, extra, known = args[at + 1], args[at + 5], nil
    if extra ~= '' then
      local delay, body, key = string.match(extra, '^(%d+) (%x*) (.*)$')
      if body ~= '' then
        known = keys[key] or known_key(key)
        if known and string.sub(known, ID_BYTES + 1) ~= body then
          return nil, { 'conflict', key, string.sub(known, 1, ID_BYTES) }
        end
        if not known then keys[key] = id .. body end
      end
      delays[i] = tonumber(delay)
    end
    if known and string.sub(known, 1, ID_BYTES) ~= id then
      older[#older + 1] = i
      older[#older + 1] = string.sub(known, 1, ID_BYTES)
    else
      places[#places + 1] = i
    end
  end
  return places, older, delays, keys
end

-- Those of the places whose task has no record: the others were accepted before.
local function without_record(args, tasks_from, places)
  local keys, found = {}, 0
  for n, i in ipairs(places) do keys[n] = TASK .. args[tasks_from + 5 * (i - 1) + 1] end
  for from = 1, #keys, CHUNK do
    found = found + redis.call('EXISTS', unpack(keys, from, math.min(from + CHUNK - 1, #keys)))
  end
  if found == 0 then return places end
  local fresh = {}
  for n, i in ipairs(places) do
    if redis.call('EXISTS', keys[n]) == 0 then fresh[#fresh + 1] = i end
  end
  return fresh
end
