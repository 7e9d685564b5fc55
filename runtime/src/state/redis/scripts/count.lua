-- One more. KEYS: the counts of a piece of work. ARGV: which of them, life ms.
local counted = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return counted
