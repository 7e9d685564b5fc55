-- What stands under a key and is not ours is said, never repaired.
local function foreign(key)
  error('FOREIGN ' .. key)
end

local function number(text, key)
  return tonumber(text) or foreign(key)
end

-- A whole number as text; Lua would write large ones with an exponent.
local function whole(value)
  return string.format('%.0f', value)
end
