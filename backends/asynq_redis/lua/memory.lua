-- Estimate the memory of a queue in bytes from some tasks of each state.
-- flags: no-writes
-- KEYS: pending active scheduled retry archived completed groups
-- ARGV: prefix
-- answers: bytes
-- @include arguments types keys

local SAMPLE, GROUPS = 20, 5
local pending, active, prefix, total = key(), key(), arg(), 0

local function bytes(name)
  return redis.call('MEMORY', 'USAGE', name) or 0
end

local function add(name, size, ids)
  local tasks = 0
  for _, id in ipairs(ids) do tasks = tasks + bytes(task_key(prefix, id)) end
  total = total + bytes(name) + tasks / math.max(#ids, 1) * size
end

for _, list in ipairs({ pending, active }) do
  add(list, try('LLEN', list) or 0, try('LRANGE', list, -SAMPLE, -1) or {})
end
local function add_zset(zset)
  add(zset, try('ZCARD', zset) or 0, try('ZRANGE', zset, 0, SAMPLE - 1) or {})
end
for _ = 1, 4 do add_zset(key()) end
local groups = key()
local names, before = try('SRANDMEMBER', groups, GROUPS) or {}, total
for _, name in ipairs(names) do add_zset(group_key(prefix, name)) end
if #names > 0 then
  total = before + bytes(groups) + (total - before) / #names * redis.call('SCARD', groups)
end
return math.floor(total)
