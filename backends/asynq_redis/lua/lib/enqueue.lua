-- Create tasks. The arguments of each: id msg at in group enqueue_id ttl until keep replace.

-- The collections that a new task may join or a replaced task may leave: the next five keys.
local function queue_of_keys()
  local queue = {
    pending = key(), scheduled = key(), groups = key(), archived = key(), completed = key(),
  }
  queue.refusal = misplaced(queue.pending, 'list') or misplaced(queue.scheduled, 'zset')
    or misplaced(queue.groups, 'set') or misplaced(queue.archived, 'zset') or misplaced(queue.completed, 'zset')
  return queue
end

-- Only the hash names the lock of a replaced task, so the lock is accessed before the first write.
local function touch_replaced(hash, id, replace)
  if replace ~= '' then doomed_task(hash, id) end
end

-- The answer if an earlier copy of the call created the task.
local function made_before(queue, now, id, state, pending_since)
  local due = state == 'scheduled' and redis.call('ZSCORE', queue.scheduled, id)
  if due then return { 1, state, score_ms(due) } end
  local since = pending_since and tonumber(string.sub(pending_since, 1, -7)) or math.floor(now / 1000)
  return { 1, state == 'aggregating' and state or 'pending', since }
end

local function clear(queue, task, hash, id)
  delete_task(doomed_task(hash, id))
  if not task.leaves then redis.call('ZREM', queue[task.state], id) end
end

-- Create the task of the next arguments. If it is refused, answer why and write nothing.
-- `leaving`, if given: ids of tasks that are deleted in the same step. Their ids and locks are free.
local function enqueue(queue, now, hash, lock, group_key, leaving)
  local id, msg, at, delay, group, enqueue_id = arg(), arg(), arg(), arg(), arg(), arg()
  local ttl, ends, keep, replace = arg(), arg(), arg(), arg()

  local old
  if redis.call('EXISTS', hash) == 1 then
    local found = try('HMGET', hash, 'state', 'enqueue_id', 'pending_since')
    if not found then return { -2, misplaced(hash, 'hash') } end
    local state = found[1]
    if found[2] == enqueue_id then return made_before(queue, now, id, state, found[3]) end
    old = { state = state, leaves = leaving and leaving[id] }
    local gives_way = replace ~= '' and (state == 'archived' or state == 'completed')
    if not (gives_way or old.leaves) then return { 0, state or '' } end
  end
  if group ~= '' then
    local refusal = misplaced(group_key, 'zset')
    if refusal then return { -2, refusal } end
  end
  if ttl ~= '' then
    local holder = try('GET', lock)
    if holder == nil then return { -2, misplaced(lock, 'string') } end
    -- A lock that holds the same id was left by a deleted task or by the one being replaced.
    if holder and holder ~= id and not (leaving and leaving[holder]) then return { -1, holder } end
  end

  if old then clear(queue, old, hash, id) end
  local due = now
  if at ~= '' then due = at * 1000 elseif delay ~= '' then due = now + delay * 1000 end
  local state = 'pending'
  if due > now then
    state, due = 'scheduled', seconds_up(due) * 1000000
  else
    due = now
    if group ~= '' then state = 'aggregating' end
  end
  local fields = { 'msg', msg, 'state', state, 'enqueue_id', enqueue_id }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if ttl ~= '' then
    local seconds = math.floor((due + ttl * 1000 - now) / 1000000)
    redis.call('SET', lock, lock_holder(id, ends), 'EX', whole(seconds))
    field('unique_key', lock)
    if ends ~= 'done' then field('unique_until', ends) end
    if keep ~= '' then field('unique_keep', ttl) end
  end
  if group ~= '' then
    field('group', group)
    redis.call('SADD', queue.groups, group)
  end
  if state == 'pending' then field('pending_since', nanoseconds(now)) end
  redis.call('HSET', hash, unpack(fields))
  if state == 'pending' then
    redis.call('LPUSH', queue.pending, id)
  elseif state == 'scheduled' then
    redis.call('ZADD', queue.scheduled, whole(due / 1000000), id)
  else
    redis.call('ZADD', group_key, whole(seconds_up(now)), id)
  end
  return { 1, state, math.floor(due / 1000) }
end
