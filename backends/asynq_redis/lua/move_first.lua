-- Move the first tasks of one state by hand. Ids without a task, or of a task in another state, are dropped.
-- flags: allow-oom
-- KEYS: pending scheduled retry archived completed groups source lease
-- ARGV: now prefix from to limit max_size max_age group
--   to: pending, archived or deleted. max_age: milliseconds. group: its name, empty for none.
-- answers: {number moved, number of ids examined}
-- @include arguments types time keys sequence lock delete discard manage

local queue = queue_of_keys()
local source, lease = key(), key()
local now, prefix, from, to, limit = microseconds(arg()), arg(), arg(), arg(), tonumber(arg())
local max_size, max_age, group = tonumber(arg()), tonumber(arg()), arg()
local refusal = queue.refusal or misplaced(lease, 'zset')
  or misplaced(source, from == 'pending' and 'list' or 'zset')
if refusal then return redis.error_reply(refusal) end

local ids = {}
if from == 'pending' then
  local found = redis.call('LRANGE', source, -limit, -1)
  for i = #found, 1, -1 do ids[#ids + 1] = found[i] end
else
  ids = redis.call('ZRANGE', source, 0, limit - 1)
end

-- Tasks that wait in a sequence, and parked ones, cannot be run.
if from == 'scheduled' and to == 'pending' then
  ids = {}
  for _, range in ipairs({ { '-inf', WAITING }, { '(' .. WAITING, PARKED }, { '(' .. PARKED, '+inf' } }) do
    local last = range[2] == '+inf' and '+inf' or '(' .. range[2]
    local found = redis.call('ZRANGEBYSCORE', source, range[1], last, 'LIMIT', 0, limit - #ids)
    for _, id in ipairs(found) do ids[#ids + 1] = id end
  end
end

-- Whether a task is in the collection of the other state that its hash names.
local function elsewhere(task)
  if task.state == from or not task.known then return false end
  if task.state == 'active' then return redis.call('ZSCORE', lease, task.id) end
  if task.state == 'pending' or task.state == 'aggregating' then return true end
  return task.source and redis.call('ZSCORE', task.source, task.id)
end

local moving, gone, seen = {}, {}, {}
for _, id in ipairs(ids) do
  local task = look_up(queue, prefix, id)
  task.elsewhere = elsewhere(task)
  if not task.known then gone[#gone + 1] = task end
  if task.known and not task.elsewhere and not seen[id] then
    seen[id] = true
    moving[#moving + 1] = task
  end
end
local giving_way = room_for(queue, prefix, moving, to, now, max_size, max_age)

if #ids > 0 then
  if from == 'pending' then
    redis.call('RPOP', source, #ids)
  else
    redis.call('ZREM', source, unpack(ids))
    if group ~= '' and redis.call('ZCARD', source) == 0 then redis.call('SREM', queue.groups, group) end
  end
end
for _, task in ipairs(gone) do put(queue, task, 'deleted', now) end
for _, task in ipairs(moving) do put(queue, task, to, now) end
discard(queue.archived, giving_way)
return { #moving, #ids }
