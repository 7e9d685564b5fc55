-- Closes a bucket. KEYS: the bucket. ARGV: for how long, in µs.
local key = KEYS[1]
local row = redis.call('HMGET', key, 'whole', 'closed')
local level, closed = number(row[1] or 0, key), number(row[2] or 0, key)
closed = math.max(closed, now_us + tonumber(ARGV[1]))
redis.call('HSET', key, 'closed', whole(closed))
redis.call('PEXPIRE', key, math.ceil((math.max(level, closed) - now_us) / 1000))
