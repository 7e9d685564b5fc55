-- Writes a value where the one that was read still stands. KEYS: the value. ARGV: what was read ('' where
-- nothing was), what to write, life ms. Answers whether it did.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
