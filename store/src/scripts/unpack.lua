-- Accepts the tasks of the next part of a batch that `commit.lua` accepted.
--
-- ARGV: the id of the first task of the batch. Returns how many parts are left.
local name, part, parts = string.match(redis.call('HGET', BATCHES, ARGV[1]) or '', '^(%S+) (%d+) (%d+) ')
if not name then return 0 end
local us, ms = clock()
local left = parts - part - 1
if left > 0 then
  redis.call('HSET', BATCHES, ARGV[1], name .. ' ' .. part + 1 .. ' ' .. parts .. ' ' .. string.format('%.0f', ms))
else
  redis.call('HDEL', BATCHES, ARGV[1])
end
local key = STAGED .. name .. ':' .. part
local staged = redis.call('GET', key)
-- Else it was removed by hand: nothing is left to queue.
if staged then
  redis.call('UNLINK', key)
  local args = cmsgpack.unpack(staged)
  local tasks_from, total = tasks_in(args)
  local places, delays = {}, {}
  for i = 1, total do
    places[i], delays[i] = i, tonumber(string.match(args[tasks_from + 5 * i], '^%d+') or 0)
  end
  local fresh = without_record(args, tasks_from, places)
  if args[7] ~= '' and #fresh < total then
    -- They were accepted before: they count once.
    local used = usage_of(args[5], us)
    used[USED_TASKS] = used[USED_TASKS] + #fresh - total
    used[USED_BYTES] = used[USED_BYTES] + counted_bytes(args, tasks_from, fresh) - counted_bytes(args, tasks_from, places)
    save_usage(args[5], used)
  end
  if #fresh > 0 then accept(args, tasks_from, fresh, delays, (read_counts(args[5])), us, ms, false) end
  count({ committed = -total })
end
return left
