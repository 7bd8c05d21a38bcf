-- Move tasks by hand: to the tail of their queue, to the archive, or delete them.

-- The collections between which tasks are moved: the next six keys.
local function queue_of_keys()
  local queue = {
    pending = key(), scheduled = key(), retry = key(), archived = key(), completed = key(), groups = key(),
  }
  queue.refusal = misplaced(queue.pending, 'list') or misplaced(queue.scheduled, 'zset')
    or misplaced(queue.retry, 'zset') or misplaced(queue.archived, 'zset')
    or misplaced(queue.completed, 'zset') or misplaced(queue.groups, 'set')
  return queue
end

-- The current task. It accesses every key that moving the task writes. Without `exists` there is no task.
local function look_up(queue, prefix, id)
  local hash = task_key(prefix, id)
  local found = try('HMGET', hash, 'state', 'group', 'unique_key', 'unique_until', 'unique_keep', 'enqueue_id',
    'sequence', 'lease_token') or {}
  local task = {
    id = id, hash = hash, exists = redis.call('EXISTS', hash) == 1, known = try('HEXISTS', hash, 'msg') == 1,
    state = found[1] or '', group = found[2] or '', lock = lock_of(hash, id, found[3], found[2], found[6]),
    ends = found[4], keep = found[5], waits = is_parked(found[1], found[8]),
  }
  if task.state == 'aggregating' then
    task.source = group_key(prefix, task.group)
    task.held = not try('ZSCORE', task.source, id)
  elseif task.state ~= 'active' then
    task.source = queue[task.state]
  end
  if task.lock and try('GET', task.lock) == id then task.owned = task.lock end
  if found[7] then
    task.sequence = sequence_at(prefix, found[7])
    task.waits = task.waits or waits(task.sequence, task.state, id)
  end
  return task
end

-- Whether the move is allowed from the task's state.
local function movable(task, to)
  if to == 'deleted' and not task.known then return task.exists end
  if to == 'pending' and task.waits then return false end
  return task.known and task.source and not task.held and task.state ~= to
end

local function leave_source(queue, task)
  if task.source == queue.pending then
    redis.call('LREM', queue.pending, -1, task.id)
  elseif task.source then
    redis.call('ZREM', task.source, task.id)
    if task.state == 'aggregating' and redis.call('ZCARD', task.source) == 0 then
      redis.call('SREM', queue.groups, task.group)
    end
  end
end

local function put_pending(queue, task, now)
  redis.call('LPUSH', queue.pending, task.id)
  redis.call('HSET', task.hash, 'state', 'pending', 'pending_since', nanoseconds(now))
end

local function put(queue, task, to, now)
  if to == 'deleted' then
    delete_task({ hash = task.hash, lock = task.owned })
  elseif to == 'archived' then
    redis.call('ZADD', queue.archived, whole(seconds_up(now)), task.id)
    redis.call('HSET', task.hash, 'state', 'archived')
    redis.call('HDEL', task.hash, 'lease_token', 'cancel')
  else
    local ended = task.state == 'archived' or task.state == 'completed'
    if task.sequence and ended and not task.sequence.refusal then
      join_sequence(task.sequence, task.id, now)
    else
      put_pending(queue, task, now)
    end
    redis.call('HDEL', task.hash, 'lease_token', 'cancel', 'group')
    -- Without the group nothing would say that only the message names the lock.
    if task.lock then redis.call('HSET', task.hash, 'unique_key', task.lock) end
    if task.lock and task.keep and task.ends ~= 'start' then renew(task.lock, task.id, task.ends, task.keep, 0) end
  end
  if task.sequence and to ~= 'pending' then
    leave_sequence(task.sequence, task.id)
    advance(task.sequence, now)
  end
end

-- The tasks to delete from the archive when these tasks are added: old ones, then the first of these.
local function room_for(queue, prefix, tasks, to, now, max_size, max_age)
  if to ~= 'archived' or #tasks == 0 then return {} end
  local giving_way = doomed(prefix, surplus(queue.archived, now, max_size, max_age, #tasks, #tasks + 50))
  for i = 1, #tasks - max_size do
    local task = tasks[i]
    giving_way[#giving_way + 1] = { id = task.id, hash = task.hash, lock = task.owned }
  end
  return giving_way
end
