-- Move due tasks from scheduled and retry to the tail of the queue or to their group, in due order.
-- flags: allow-oom
-- KEYS: scheduled retry pending groups
-- ARGV: now prefix limit
-- answers: {number moved, ids left to examine (1 or 0), next due second or empty}
-- @include arguments types time keys lock delete

local scheduled, retry, pending, groups = key(), key(), key(), key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return { 0, 0, '' } end
local refusal = misplaced(scheduled, 'zset') or misplaced(retry, 'zset')
  or misplaced(pending, 'list') or misplaced(groups, 'set')
if refusal then return redis.error_reply(refusal) end
local now, prefix, limit = microseconds(arg()), arg(), tonumber(arg())

local due = {}
for _, source in ipairs({ scheduled, retry }) do
  local latest = whole(math.floor(now / 1000000))
  local found = redis.call('ZRANGEBYSCORE', source, '-inf', latest, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do
    due[#due + 1] = { id = found[i], at = tonumber(found[i + 1]), place = #due, source = source }
  end
end
table.sort(due, function(a, b)
  if a.at ~= b.at then return a.at < b.at end
  return a.place < b.place
end)

local chosen, seen = {}, {}
for i = 1, math.min(limit, #due) do
  local task = due[i]
  task.hash = task_key(prefix, task.id)
  task.again = seen[task.id]
  seen[task.id] = true
  task.known = try('HEXISTS', task.hash, 'msg') == 1
  if not task.known then
    task.gone = doomed_task(task.hash, task.id)
  else
    local found = redis.call('HMGET', task.hash, 'group', 'unique_key', 'unique_until', 'unique_keep')
    if found[1] and found[1] ~= '' then
      task.group, task.group_key = found[1], group_key(prefix, found[1])
      refusal = misplaced(task.group_key, 'zset')
      if refusal then return redis.error_reply(refusal) end
    end
    -- A task that has been started no longer owns a lock held until its start.
    local started = task.source == retry and found[3] == 'start'
    if found[2] and found[4] and not started then
      task.lock, task.ends, task.keep = found[2], found[3], found[4]
      try('GET', task.lock)
    end
  end
  chosen[i] = task
end

local moved = 0
for _, task in ipairs(chosen) do
  redis.call('ZREM', task.source, task.id)
  if task.gone then
    delete_task(task.gone)
  elseif not task.again then
    moved = moved + 1
    -- The token proves where the last settlement moved the task. The task is no longer there.
    redis.call('HDEL', task.hash, 'lease_token')
    if task.group then
      redis.call('ZADD', task.group_key, whole(seconds_up(now)), task.id)
      redis.call('SADD', groups, task.group)
      redis.call('HSET', task.hash, 'state', 'aggregating')
    else
      redis.call('LPUSH', pending, task.id)
      redis.call('HSET', task.hash, 'state', 'pending', 'pending_since', nanoseconds(now))
    end
    if task.lock then renew(task.lock, task.id, task.ends, task.keep, 0) end
  end
end

local following = ''
for _, source in ipairs({ scheduled, retry }) do
  local first = redis.call('ZRANGE', source, 0, 0, 'WITHSCORES')[2]
  if first and (following == '' or tonumber(first) < tonumber(following)) then following = first end
end
local left = following ~= '' and tonumber(following) * 1000000 <= now
return { moved, left and 1 or 0, following }
