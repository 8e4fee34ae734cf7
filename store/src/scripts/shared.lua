-- Functions of all scripts. Each script gets those that it uses, and values in place of upper-case names: `assemble.rs`
-- does it, `keys.rs` and `layout.rs` say what the names mean.
--
-- Hashes and whole-list commands instead of one key for each thing: a command costs more than the
-- entry it writes, so a batch is few commands with many entries. `examples/cost.rs` measures it.

local CHUNK = 4000      -- most values that one command gets: Lua's stack ends at 8,000
local MAX_STATE_BYTES = 65536
local IS_MISSING = 'TRYAGAIN a blob has not been written'

-- The time in microseconds, as text, and in milliseconds, as a number.
local function clock()
  local t = redis.call('TIME')
  local us = t[1] .. string.sub('00000' .. t[2], -6)
  return us, tonumber(string.sub(us, 1, 13))
end

-- Gives `items` to a command that writes any number of them, after `key` where it has one. Returns
-- the command's last answer.
local function write_all(command, key, items)
  local answer
  for from = 1, #items, CHUNK do
    local to = math.min(from + CHUNK - 1, #items)
    if key then
      answer = redis.call(command, key, unpack(items, from, to))
    else
      answer = redis.call(command, unpack(items, from, to))
    end
  end
  return answer
end

-- The answers of a command that reads any number of `items`, in their order.
local function read_all(command, key, items)
  local answers = {}
  for from = 1, #items, CHUNK do
    local to = math.min(from + CHUNK - 1, #items)
    local part
    if key then
      part = redis.call(command, key, unpack(items, from, to))
    else
      part = redis.call(command, unpack(items, from, to))
    end
    if from == 1 and to == #items then return part end
    for i = 1, to - from + 1 do answers[from + i - 1] = part[i] end
  end
  return answers
end

local function records_of(ids)
  local keys = {}
  for i, id in ipairs(ids) do keys[i] = TASK .. id end
  return read_all('MGET', nil, keys)
end

-- The table `map[name]`, made where it is missing.
local function list_in(map, name)
  local list = map[name]
  if not list then
    list = {}
    map[name] = list
  end
  return list
end

local function count(changes)
  for name, change in pairs(changes) do
    if change ~= 0 then redis.call('HINCRBY', COUNTS, name, change) end
  end
end
