-- One request's room in all its buckets, or in none. KEYS: the buckets. ARGV: the longest closure
-- in µs, then for each bucket the interval and the depth of its quota in µs.
-- Answers which bucket has the longest wait, 0 where there is none, and that wait in ms.
--
-- The arithmetic is that of `qqrelay_proto::bucket`.
local closure = tonumber(ARGV[1])
local longest, which = 0, 0
local taken = {}
for place, key in ipairs(KEYS) do
  local interval, depth = tonumber(ARGV[2 * place]), tonumber(ARGV[2 * place + 1])
  local row = redis.call('HMGET', key, 'whole', 'closed')
  local level, closed = number(row[1] or 0, key), number(row[2] or 0, key)
  local deepest = now_us + depth
  if level > deepest then level = deepest - interval end
  level = math.max(level, now_us) + interval
  local wait = math.max(level - deepest, math.min(closed - now_us, closure))
  if wait > longest then longest, which = wait, place end
  taken[place] = {level, math.max(level, closed) - now_us}
end
if which > 0 then return {which, math.ceil(longest / 1000)} end
for place, key in ipairs(KEYS) do
  local level, life = taken[place][1], taken[place][2]
  redis.call('HSET', key, 'whole', whole(level))
  redis.call('PEXPIRE', key, math.ceil(life / 1000))
end
return {0, 0}
