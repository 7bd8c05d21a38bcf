-- Find ids without a task, active tasks without a lease, and unfinished tasks without a place in their sequence,
-- among some ids of one state.
-- flags: allow-oom
-- KEYS: source lease
-- ARGV: now prefix kind state offset limit repair grace
--   kind: list or zset. repair: 1 or empty. grace: milliseconds until a new lease expires.
-- answers: {number of ids examined, {ids without a task}, {active tasks without a lease}, {tasks without a place}}
-- @include arguments types time keys sequence delete

local source, lease = key(), key()
local now, prefix, kind, state = microseconds(arg()), arg(), arg(), arg()
local offset, limit, repair, grace = tonumber(arg()), tonumber(arg()), arg(), tonumber(arg())
local refusal = misplaced(source, kind) or misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end

local ids
if kind == 'list' then
  ids = redis.call('LRANGE', source, -(offset + limit), -(offset + 1))
else
  ids = redis.call('ZRANGE', source, offset, offset + limit - 1)
end
-- The sequence of an unfinished task, if it does not know the task.
local function displaced(id, hash)
  local name = state ~= 'archived' and state ~= 'completed' and redis.call('HGET', hash, 'sequence')
  local sequence = name and sequence_at(prefix, name)
  if not sequence or sequence.refusal then return nil end
  if redis.call('ZSCORE', sequence.key, id) and redis.call('ZSCORE', sequence.names, name) then return nil end
  return sequence
end

local gone, doomed_tasks, stranded, displaced_ids, sequence_of = {}, {}, {}, {}, {}
for _, id in ipairs(ids) do
  local hash = task_key(prefix, id)
  local known = try('HEXISTS', hash, 'msg') == 1
  if not known then
    gone[#gone + 1] = id
    doomed_tasks[#doomed_tasks + 1] = doomed_task(hash, id)
  elseif state == 'active' and not redis.call('ZSCORE', lease, id) then
    stranded[#stranded + 1] = id
  end
  sequence_of[id] = known and displaced(id, hash)
  if sequence_of[id] then displaced_ids[#displaced_ids + 1] = id end
end
if repair ~= '' then
  for i, id in ipairs(gone) do
    if kind == 'list' then redis.call('LREM', source, -1, id) else redis.call('ZREM', source, id) end
    if state == 'active' then redis.call('ZREM', lease, id) end
    delete_task(doomed_tasks[i])
  end
  for _, id in ipairs(stranded) do
    redis.call('ZADD', lease, as_score(lapse(now, grace)), id)
    redis.call('HDEL', task_key(prefix, id), 'lease_token')
  end
  for _, id in ipairs(displaced_ids) do
    local sequence = sequence_of[id]
    if redis.call('ZSCORE', sequence.key, id) then
      redis.call('ZADD', sequence.names, 0, sequence.name)
    else
      add_place(sequence, id)
    end
    if state == 'scheduled' then advance(sequence, now) end
  end
end
return { #ids, gone, stranded, displaced_ids }
