-- Accepts calls of one session: all of them or none. One that finds the session busy waits behind those that were accepted before.
--
-- ARGV: as `submit.lua`; the records name the session. Returns the same, or 'session' where it is not known, or 'waiting' and how many calls
-- wait in it, where these are too many.
local session = session_of('L' .. ARGV[tasks_in(ARGV) + 2])
local name, line = SESSION .. session, SESSION_TASKS .. session
local found = redis.call('HMGET', name, 'tenant', 'active')
local active, waited = found[2], redis.call('LLEN', line)
local refused
if found[1] ~= ARGV[5] then
  refused = { 'session' }
elseif waited >= MAX_WAITING_CALLS then
  refused = { 'waiting', waited }
end
return submit(ARGV, refused, function(tasks_from, fresh, delays, ms)
  for _, i in ipairs(fresh) do
    local id = ARGV[tasks_from + 5 * i - 4]
    if active then
      if (delays[i] or 0) > 0 then redis.call('HSET', name, DUE .. id, string.format('%.0f', ms + delays[i] + 1)) end
      -- Neither delayed nor queued.
      delays[i] = -1
      redis.call('RPUSH', line, id)
    else
      active = id
      redis.call('HSET', name, 'active', id)
    end
  end
  count({ in_sessions = redis.call('LLEN', line) - waited })
  -- Never delivered: who claims a call of a session reads what the last one has left.
  keep_session(session, ARGV[5])
end)
