-- Key names built from ids and groups that the script reads. keys.py builds all others.
local function task_key(prefix, id)
  return prefix .. 't:' .. id
end

local function group_key(prefix, group)
  return prefix .. 'g:' .. group
end
