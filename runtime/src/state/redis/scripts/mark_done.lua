-- Finished work. KEYS: its marks, then the counts that are forgotten with it. ARGV: life ms.
local half = #KEYS / 2
for place = 1, half do
  redis.call('SET', KEYS[place], '', 'PX', ARGV[1])
  redis.call('DEL', KEYS[half + place])
end
