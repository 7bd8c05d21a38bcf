-- End the parking of tasks.
-- flags: allow-oom
-- KEYS: pending scheduled retry archived completed groups transfer | hash
-- ARGV: now prefix to transfer claim | id
--   to: restored or deleted.
-- answers: -9 if the claim is not held; or each 1, or 0 if the task is not parked
-- @include arguments types time keys sequence lock delete manage parked

local queue = queue_of_keys()
if queue.refusal then return redis.error_reply(queue.refusal) end
local claim = key()
local now, prefix, to, transfer = microseconds(arg()), arg(), arg(), arg()
if not claimed(claim, arg()) then return -9 end

local answers, releasing, seen = {}, {}, {}
while more() do
  local hash, id = key(), arg()
  local task = look_up(queue, prefix, id)
  local state, score, since, by = place_before(task.state, try('HGET', hash, 'lease_token'))
  if by ~= transfer then state = nil end
  if state and not seen[id] then
    seen[id] = true
    task.before, task.score, task.since = state, score, since
    if state == 'aggregating' then
      task.target = group_key(prefix, task.group)
      local refusal = misplaced(task.target, 'zset')
      if refusal then return redis.error_reply(refusal) end
    end
    releasing[#releasing + 1] = task
  end
  answers[#answers + 1] = state and 1 or 0
end

-- Whether the task runs as it was before; the second value is true if its turn came meanwhile. A parked task is never
-- passed over: the first task of its sequence is the task itself, or one that does not wait.
local function its_turn(task)
  if not task.sequence or task.sequence.refusal or ended(task.before) then return true end
  advance(task.sequence, now)
  return first_of(task.sequence) == task.id, tonumber(task.score) == WAITING
end

local function restore(task)
  local own, called = its_turn(task)
  redis.call('ZREM', queue.scheduled, task.id)
  redis.call('HDEL', task.hash, 'lease_token')
  if not own then
    redis.call('ZADD', queue.scheduled, WAITING, task.id)
  elseif called then
    put_pending(queue, task, now)
  elseif task.before == 'pending' then
    redis.call('LPUSH', queue.pending, task.id)
    redis.call('HSET', task.hash, 'state', 'pending')
    if task.since ~= '-' then redis.call('HSET', task.hash, 'pending_since', task.since) end
  elseif task.target then
    redis.call('ZADD', task.target, task.score, task.id)
    redis.call('SADD', queue.groups, task.group)
    redis.call('HSET', task.hash, 'state', 'aggregating')
  else
    redis.call('ZADD', queue[task.before], task.score, task.id)
    redis.call('HSET', task.hash, 'state', task.before)
  end
  if task.lock and task.keep and task.ends ~= 'start' and not ended(task.before) then
    local due = math.max((tonumber(task.score) or 0) * 1000 - math.floor(now / 1000), 0)
    renew(task.lock, task.id, task.ends, task.keep, due)
  end
end

for _, task in ipairs(releasing) do
  if to == 'restored' then
    restore(task)
  else
    leave_source(queue, task)
    put(queue, task, 'deleted', now)
  end
end
return answers
