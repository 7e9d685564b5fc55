-- Where the log holds an event. KEYS: the event. ARGV: the place, life ms. The first place stands.
local found = redis.call('GET', KEYS[1])
if not (found and found:match('^at ')) then
  redis.call('SET', KEYS[1], 'at ' .. ARGV[1], 'PX', ARGV[2])
end
