-- Count the tasks in the groups or in the aggregation sets of a queue, page by page.
-- flags: no-writes
-- KEYS: names pending
-- ARGV: prefix kind cursor
--   names, kind: the names of the groups, a set, or the keys of the aggregation sets, a zset.
-- answers: {cursor, number of tasks, number of groups or sets with tasks}
-- @include arguments types keys

local names, prefix, kind, cursor = key(), arg(), arg(), arg()
local refusal = misplaced(names, kind)
if refusal then return redis.error_reply(refusal) end
local tasks, holding, page = 0, 0, nil
local function add(name)
  local size = try('ZCARD', name) or 0
  tasks = tasks + size
  if size > 0 then holding = holding + 1 end
end

if kind == 'set' then
  page = redis.call('SSCAN', names, cursor, 'COUNT', 100)
  for _, group in ipairs(page[2]) do add(group_key(prefix, group)) end
else
  page = redis.call('ZSCAN', names, cursor, 'COUNT', 100)
  for i = 1, #page[2], 2 do add(page[2][i]) end
end
return { page[1], tasks, holding }
