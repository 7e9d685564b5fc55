-- A fetched token, and the end of the flight. KEYS: the token, the flight. ARGV: the token as it is
-- stored, when it stops to work, ms since 1970.
local life = tonumber(ARGV[2]) - now
if life > 0 then redis.call('SET', KEYS[1], ARGV[1], 'PX', whole(life)) end
redis.call('DEL', KEYS[2])
