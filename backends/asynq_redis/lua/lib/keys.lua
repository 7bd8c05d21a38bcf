-- Names of keys that only the script learns, from ids and groups it reads. keys.py names all others.
local function task_key(prefix, id)
  return prefix .. 't:' .. id
end

local function group_key(prefix, group)
  return prefix .. 'g:' .. group
end
