-- A value and the server's time, ms since 1970. KEYS: the value.
return {now, redis.call('GET', KEYS[1])}
