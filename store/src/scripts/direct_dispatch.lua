-- Functions of the scripts that accept tasks: they deliver new tasks to a dispatcher that waits for them, as if it had
-- claimed them. That spares the first task of an idle system a round trip.
local MAX_DELIVERED_BYTES = 65536

-- What is left of a demand after `n` tasks of a class; nil where it does not demand so many.
local function without(demand, class, n)
  if not string.find(demand, ' ' .. class .. ' ', 1, true) then return nil end
  -- Mostly it is a single one without reserved places.
  local only, others = string.match(demand, '^(%d+)( [^;]*;)$')
  if only then
    only = only - n
    return only > 0 and only .. others or only == 0 and '' or nil
  end
  local left, found = '', false
  for count, mark, classes in string.gmatch(demand, '(%d+)(' .. RESERVED_MARK .. '?)( [^;]*);') do
    count = tonumber(count)
    if not found and count >= n and string.find(classes, ' ' .. class .. ' ', 1, true) then
      count, found = count - n, true
    end
    -- Where places are reserved, there may be one for a tenant that comes: the dispatcher is woken for it.
    if count > 0 or mark ~= '' then left = left .. count .. mark .. classes .. ';' end
  end
  return found and left or nil
end

-- Delivers tasks of one class to a dispatcher that waits for as many. Says whether one took them: then their attempt
-- states are added to `fields`, which holds their arguments. The message is read by `event.rs`: W where the dispatcher
-- waits for more and C where it has to claim first, and for each task its id, `<#record> <#args>\n`, its record and its
-- arguments.
local function direct_dispatch(demand, class, us, ids, records, fields)
  for i = 1, #demand, 2 do
    local dispatcher, left = demand[i], without(demand[i + 1], class, #ids)
    if left then
      local message, state = { left == '' and 'C' or 'W' }, 'R' .. dispatcher .. us .. ' 1 0 0'
      for n, id in ipairs(ids) do
        local record, arg = records[2 * n], fields[2 * n]
        message[n + 1] = id .. #record .. ' ' .. #arg .. '\n' .. record .. arg
      end
      -- Without a receiver, the dispatcher or its subscription is gone.
      if redis.call('PUBLISH', TOPIC_DELIVERED .. dispatcher, table.concat(message)) > 0 then
        if left == '' then
          redis.call('HDEL', DEMAND, dispatcher)
        else
          redis.call('HSET', DEMAND, dispatcher, left)
        end
        for _, id in ipairs(ids) do
          fields[#fields + 1] = id
          fields[#fields + 1] = state
        end
        write_all('SADD', LEASES .. dispatcher, ids)
        return true
      end
    end
  end
  return false
end

