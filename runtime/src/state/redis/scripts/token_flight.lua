-- Who fetches the token. KEYS: the flight. ARGV: who asks, life ms. Answers whether it is the asker.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
