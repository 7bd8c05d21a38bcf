-- Dequeue one task per preference order, from the first queue of the order that has one.
-- flags: allow-oom
-- KEYS: | pending active lease paused taken
-- ARGV: now token lease | prefix limit | order*
--   lease: duration in milliseconds. limit: maximum active tasks of the queue, empty for no limit. order: numbers of queues, counted from 1, most preferred first.
-- answers: {deliveries, 1 if ids were dropped else 0, refusals, now ms}
--   delivery: {number of the queue, id, msg, expiry ms, lease losses, cancel}; refusal: {number, reason}
-- @include arguments types time keys fence lock delete

-- Maximum ids examined per queue. Ids without a task count, but are not delivered.
local MOST = 100
-- A lease set of few short members is stored as a list, and each step of a search parses a score as text. One
-- long member turns the set into a skip list, which it stays until it is empty.
local LONG_MEMBER = string.rep('-', 65)
-- Number of leases for which this pays.
local MANY_LEASES = 16
-- Bytes of messages after which no further task is taken, so that the reply arrives in time.
local MOST_BYTES = 8 * 1024 * 1024

local now, token, duration = microseconds(arg()), arg(), tonumber(arg())
local queues, refusals = {}, {}
for number = 1, #KEYS / 5 do
  local queue = {
    number = number, pending = key(), active = key(), lease = key(), paused = key(), taken = key(),
    prefix = arg(), limit = tonumber(arg()), ids = {}, used = 0, picked = {}, tasks = {}, gone = {},
  }
  local refusal = misplaced(queue.pending, 'list') or misplaced(queue.active, 'list')
    or misplaced(queue.lease, 'zset')
  if refusal then refusals[#refusals + 1] = { number, refusal } end
  queue.refused = refusal
  queue.closed = refusal or redis.call('EXISTS', queue.paused) == 1
  queue.room = math.huge
  if queue.limit and not queue.closed then queue.room = queue.limit - redis.call('LLEN', queue.active) end
  queues[number] = queue
end
local wanted = #ARGV - args_taken

local function read(queue, id)
  local hash = task_key(queue.prefix, id)
  local found = try('HMGET', hash, 'msg', 'state', 'lease_token', 'lease_losses', 'cancel',
    'unique_key', 'unique_until', 'unique_keep')
  if not found then return { id = id } end
  local task = {
    id = id, hash = hash, msg = found[1], state = found[2], token = found[3], losses = tonumber(found[4]) or 0,
    cancel = found[5] or '', lock = found[6], ends = found[7], keep = found[8],
  }
  if task.lock and (task.keep or task.ends == 'start') then try('GET', task.lock) else task.lock = nil end
  return task
end

-- The tasks that an earlier copy of this call took and still holds.
local deliveries, bytes = {}, 0
local function deliver(queue, task, expires)
  deliveries[#deliveries + 1] = { queue.number, task.id, task.msg, expires, task.losses, task.cancel }
end
for _, queue in ipairs(queues) do
  for _, id in ipairs(not queue.refused and redis.call('LRANGE', queue.taken, 0, -1) or {}) do
    local task = read(queue, id)
    local score = owned(task.state, task.token, queue.lease, id, token)
    if score then
      bytes = bytes + #(task.msg or '')
      deliver(queue, task, score_ms(score))
    end
  end
end

-- The next unused id from the head of the queue; nil at the end.
local function following(queue)
  if queue.used == #queue.ids then
    if queue.used >= MOST or queue.exhausted then return nil end
    local chunk = redis.call('LRANGE', queue.pending, -(queue.used + wanted), -(queue.used + 1))
    queue.exhausted = #chunk < wanted
    for i = #chunk, 1, -1 do queue.ids[#queue.ids + 1] = chunk[i] end
  end
  local id = queue.ids[queue.used + 1]
  if id then queue.used = queue.used + 1 end
  return id
end

-- Pick the next task of a queue; nil if it has none.
local function pick(queue)
  local id = following(queue)
  while id do
    local task = read(queue, id)
    local listed_twice = queue.picked[id] or (task.state == 'active' and redis.call('ZSCORE', queue.lease, id))
    if task.msg and not listed_twice then
      queue.picked[id] = true
      queue.tasks[#queue.tasks + 1] = task
      return task
    end
    queue.gone[#queue.gone + 1] = not listed_twice and task.hash and doomed_task(task.hash, id) or false
    id = following(queue)
  end
end

for _ = #deliveries + 1, wanted do
  if bytes >= MOST_BYTES then break end
  for number in string.gmatch(arg(), '%d+') do
    local queue = queues[tonumber(number)]
    local task = not queue.closed and queue.room > 0 and pick(queue)
    if task then
      queue.room = queue.room - 1
      bytes = bytes + #task.msg
      break
    end
  end
end

-- Writes start here.
local expires = lapse(now, duration)
local score, dropped = as_score(expires), false

local function take(queue, task)
  redis.call('HSET', task.hash, 'state', 'active', 'lease_token', token)
  redis.call('HDEL', task.hash, 'pending_since')
  if task.lock and task.ends == 'start' then
    release(task.lock, task.id)
  elseif task.lock then
    renew(task.lock, task.id, task.ends, task.keep, duration)
  end
  deliver(queue, task, expires)
end

for _, queue in ipairs(queues) do
  if queue.used > 0 then redis.call('RPOP', queue.pending, queue.used) end
  dropped = dropped or #queue.gone > 0
  for _, gone in ipairs(queue.gone) do
    if gone then delete_task(gone) end
  end
  if #queue.tasks > 0 then
    local ids, leases = {}, {}
    for i, task in ipairs(queue.tasks) do
      ids[i], leases[2 * i - 1], leases[2 * i] = task.id, score, task.id
      take(queue, task)
    end
    redis.call('LPUSH', queue.active, unpack(ids))
    if #ids < MANY_LEASES then
      redis.call('ZADD', queue.lease, unpack(leases))
    else
      redis.call('ZADD', queue.lease, '+inf', LONG_MEMBER, unpack(leases))
      redis.call('ZREM', queue.lease, LONG_MEMBER)
    end
    redis.call('RPUSH', queue.taken, unpack(ids))
    redis.call('PEXPIRE', queue.taken, whole(math.max(duration, 60000)))
  end
end
return { deliveries, dropped and 1 or 0, refusals, math.floor(now / 1000) }
