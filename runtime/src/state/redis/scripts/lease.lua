-- One lease. KEYS: the lease. ARGV: what, owner, incarnation, counter, life ms, memory ms.
-- Answers the word for what came of it, then the lease as it stands.
--
-- A lease that was given away or has ended leaves its incarnation behind, for `memory`: the next is
-- above it even where the clock has stepped back.
local key, what = KEYS[1], ARGV[1]
local owner, incarnation, counter = ARGV[2], ARGV[3], ARGV[4]
local life, memory = tonumber(ARGV[5]), tonumber(ARGV[6])
local found = redis.call('HMGET', key, 'owner', 'incarnation', 'counter', 'until')
local held = found[1] and number(found[4], key) > now
local same = held and found[1] == owner and found[2] == incarnation

local function keep(owner, incarnation, counter)
  redis.call('HSET', key, 'owner', owner, 'incarnation', incarnation, 'counter', counter,
    'until', whole(now + life))
  redis.call('PEXPIRE', key, memory)
end

if what == 'find' then
  if held then return {'held', found[1], found[2], found[3]} end
  return {'free'}
elseif what == 'take' then
  if held and not (same and found[3] == counter) then
    return {'held', found[1], found[2], found[3]}
  end
  local last = found[2] and number(found[2], key) or 0
  local taker, next = ARGV[7], whole(math.max(now, last + 1))
  keep(taker, next, '0')
  return {'taken', taker, next, '0'}
elseif not same then
  return {'lost'}
elseif what == 'renew' then
  local counted = whole(number(found[3], key) + 1)
  keep(owner, incarnation, counted)
  return {'renewed', owner, incarnation, counted}
else
  redis.call('HDEL', key, 'owner', 'counter', 'until')
  return {'released'}
end
