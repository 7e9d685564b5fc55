-- The right to reply to one message or event. KEYS: its ledger. ARGV: what, life ms, command; for
-- `claim` also the number it takes first, the limit and the end that are said ('' where none is),
-- and the most replies where nothing is said.
--
-- The rules are those of `qqrelay_proto::ledger`. Fields: `limit`, `expires`; `c:<command>` holds
-- "<number> <attempts>"; `n:<number>` is a number that somebody else has.
local key, what, life, command = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local LAST = 65535
local limit, expires, used, mine = nil, nil, 0, nil
local numbers = {}
local fields = redis.call('HGETALL', key)
for at = 1, #fields, 2 do
  local name, value = fields[at], fields[at + 1]
  if name == 'limit' then
    limit = number(value, key)
  elseif name == 'expires' then
    expires = number(value, key)
  elseif name:sub(1, 2) == 'n:' then
    numbers[number(name:sub(3), key)] = true
    used = used + 1
  else
    local held, attempts = value:match('^(%d+) (%d+)$')
    held = number(held, key)
    numbers[held] = true
    used = used + 1
    if name == 'c:' .. command then mine = {held, tonumber(attempts)} end
  end
end

local function stricter(known, said)
  if known and said then return math.min(known, said) end
  return known or said
end

local function free_from(candidate)
  while numbers[candidate] do candidate = candidate % LAST + 1 end
  return candidate
end

local function hold(held, attempts)
  redis.call('HSET', key, 'c:' .. command, whole(held) .. ' ' .. whole(attempts))
end

local function claim()
  limit = stricter(limit, tonumber(ARGV[5]))
  expires = stricter(expires, tonumber(ARGV[6]))
  if limit then redis.call('HSET', key, 'limit', whole(limit)) end
  if expires then redis.call('HSET', key, 'expires', whole(expires)) end
  if expires and expires <= now then return {'late', now - expires, false} end
  local most = limit or tonumber(ARGV[7])
  local begun = mine and mine[2] > 0
  if not begun and used + (mine and 0 or 1) > most then return {'exhausted', most, false} end
  local held = mine and mine[1] or free_from(tonumber(ARGV[4]))
  local attempts = math.min((mine and mine[2] or 0) + 1, 255)
  hold(held, attempts)
  return {'granted', held, attempts}
end

local answer = {'changed'}
if what == 'claim' then
  answer = claim()
elseif what == 'release' and mine then
  if mine[2] > 1 then hold(mine[1], mine[2] - 1) else redis.call('HDEL', key, 'c:' .. command) end
elseif what == 'taken' and mine and mine[2] > 0 then
  redis.call('HSET', key, 'n:' .. whole(mine[1]), '')
  hold(free_from(mine[1]), 0)
elseif what == 'exhaust' then
  redis.call('HSET', key, 'limit', '0')
end
redis.call('PEXPIRE', key, life)
return answer
