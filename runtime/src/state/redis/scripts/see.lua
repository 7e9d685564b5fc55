-- Whether an event is new. KEYS: the event. ARGV: the source that asks, ms until another may have it.
local found = redis.call('GET', KEYS[1])
if found then
  local place = found:match('^at (.+)$')
  if place then return {'again', place} end
  local by = found:match('^by (.+)$') or foreign(KEYS[1])
  if by ~= ARGV[1] then return {'pending', false} end
end
redis.call('SET', KEYS[1], 'by ' .. ARGV[1], 'PX', ARGV[2])
return {'first', false}
