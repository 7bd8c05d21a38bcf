-- Create tasks. The options of a task are the words: at in ttl until keep replace displace sequenced, each after a
-- space but the first, and after a further space the group or, if it is sequenced, the sequence. Any of them may be
-- empty.
--   at, in: earliest run, as Unix milliseconds or milliseconds from now; empty for now.
--   ttl: of the lock, milliseconds, empty for no lock. until: done, expiry or start. keep, replace, displace,
--   sequenced: 1 or empty, 2 for a task that waits for others. replace: a finished task of the id. displace: the task that holds the lock. A task with a
--   sequence has none of at, in and keep.

-- Seconds. A completed task that is kept longer has followers that are not enqueued yet.
local LONGEST_RETENTION = 50 * 365 * 86400

-- The collections that a new task may join or a replaced task may leave: the next five keys.
local function queue_of_keys()
  return { pending = key(), scheduled = key(), groups = key(), archived = key(), completed = key() }
end

local OPTIONS = '^(%S*) (%S*) (%S*) (%S*) (%S*) (%S*) (%S*) (%S*) (.*)$'

-- The options of a task. The keys of its lock, and of its group or sequence, are the next keys, if it has them.
local function options_of(text)
  if text == '' then return {} end
  local at, delay, ttl, ends, keep, replace, displace, sequenced, name = string.match(text, OPTIONS)
  local options = {
    at = tonumber(at), delay = tonumber(delay), ttl = tonumber(ttl), ends = ends, keep = keep ~= '',
    replace = replace ~= '', displace = displace ~= '', group = sequenced == '' and name ~= '' and name,
    sequence = sequenced == '1' and name, joins = sequenced == '2',
  }
  if options.ttl then options.lock = key() end
  if options.group or options.sequence then options.group_key = key() end
  return options
end

local function prefix_of(hash, id)
  return string.sub(hash, 1, -#id - 3)
end

-- The task that holds the lock and gives way to a new one: nil if it does not wait, or waits in a sequence.
local function displaced_task(queue, hash, id, holder)
  local other = prefix_of(hash, id) .. 't:' .. holder
  local found = try('HMGET', other, 'state', 'sequence') or {}
  local state = found[1]
  if found[2] or state ~= 'scheduled' and state ~= 'pending' then return nil end
  return { id = holder, hash = other, source = queue[state], kind = state == 'pending' and 'list' or 'zset' }
end

-- Only the hash names the lock of a replaced task, only the lock a displaced task, and only the sequence its head.
-- They are accessed before the first write.
local function touch(queue, hash, id, options)
  if options.replace then doomed_task(hash, id) end
  local holder = options.displace and try('GET', options.lock)
  if holder then displaced_task(queue, hash, id, holder) end
  if options.sequence then sequence_at(prefix_of(hash, id), options.sequence) end
end

-- The answer if an earlier copy of the call created the task.
local function made_before(queue, now, id, state, pending_since)
  local due = state == 'scheduled' and try('ZSCORE', queue.scheduled, id)
  if due then return { 1, state, score_ms(due) } end
  local since = pending_since and tonumber(string.sub(pending_since, 1, -7)) or math.floor(now / 1000)
  return { 1, state == 'aggregating' and state or 'pending', since }
end

-- Whether a finished task gives way to a new one of its id. One whose followers are not enqueued yet does not.
local function replaceable(queue, now, state, id)
  if state ~= 'completed' then return state == 'archived' end
  return tonumber(try('ZSCORE', queue.completed, id) or 0) - now / 1000000 <= LONGEST_RETENTION
end

local function clear(queue, task, hash, id)
  delete_task(doomed_task(hash, id))
  if not task.leaves then redis.call('ZREM', queue[task.state], id) end
end

-- Create a task. If it is refused, answer why and write nothing.
-- `leaving`, if given: ids of tasks that are deleted in the same step. Their ids and locks are free.
local function enqueue(queue, now, hash, id, msg, enqueue_id, options, leaving)
  local old
  if redis.call('EXISTS', hash) == 1 then
    local found = try('HMGET', hash, 'state', 'enqueue_id', 'pending_since')
    if not found then return { -2, misplaced(hash, 'hash') } end
    local state = found[1]
    if found[2] == enqueue_id then return made_before(queue, now, id, state, found[3]) end
    old = { state = state, leaves = leaving and leaving[id] }
    local gives_way = options.replace and replaceable(queue, now, state, id)
    if not (gives_way or old.leaves) then return { 0, state or '' } end
  end

  local due, state, target = now, 'pending', queue.pending
  if options.at then due = options.at * 1000 elseif options.delay then due = now + options.delay * 1000 end
  if due > now then
    state, due, target = 'scheduled', due_second(due) * 1000000, queue.scheduled
  else
    due = now
    if options.group then state, target = 'aggregating', options.group_key end
  end
  if options.joins then state, due, target = 'scheduled', WAITING * 1000000, queue.scheduled end
  local sequence = options.sequence and sequence_at(prefix_of(hash, id), options.sequence)
  local refusal = misplaced(target, target == queue.pending and 'list' or 'zset') or (sequence and sequence.refusal)
    or (options.group and (misplaced(queue.groups, 'set') or misplaced(options.group_key, 'zset')))
    or (old and not old.leaves and misplaced(queue[old.state], 'zset'))
  if refusal then return { -2, refusal } end
  local displaced
  if options.ttl then
    local holder = try('GET', options.lock)
    if holder == nil then return { -2, misplaced(options.lock, 'string') } end
    -- A lock that holds the same id was left by a deleted task or by the one being replaced.
    if holder and holder ~= id and not (leaving and leaving[holder]) then
      if not options.displace or string.sub(holder, 1, 7) == 'expiry:' then return { -1, holder } end
      displaced = displaced_task(queue, hash, id, holder)
      refusal = displaced and misplaced(displaced.source, displaced.kind)
      if refusal then return { -2, refusal } end
    end
  end

  if old then clear(queue, old, hash, id) end
  if displaced then
    redis.call('DEL', displaced.hash)
    if displaced.kind == 'list' then
      redis.call('LREM', displaced.source, -1, displaced.id)
    else
      redis.call('ZREM', displaced.source, displaced.id)
    end
  end
  local fields = { 'msg', msg, 'state', state, 'enqueue_id', enqueue_id }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if options.ttl then
    local seconds = math.floor((due + options.ttl * 1000 - now) / 1000000)
    redis.call('SET', options.lock, lock_holder(id, options.ends), 'EX', whole(seconds))
    field('unique_key', options.lock)
    if options.ends ~= 'done' then field('unique_until', options.ends) end
    if options.keep then field('unique_keep', whole(options.ttl)) end
  end
  if options.group then
    field('group', options.group)
    redis.call('SADD', queue.groups, options.group)
  end
  if sequence then
    field('sequence', options.sequence)
    redis.call('HSET', hash, unpack(fields))
    if join_sequence(sequence, id, now) then return { 1, 'pending', math.floor(now / 1000) } end
    return { 1, 'scheduled', WAITING * 1000 }
  end
  if state == 'pending' then field('pending_since', nanoseconds(now)) end
  redis.call('HSET', hash, unpack(fields))
  if state == 'pending' then
    redis.call('LPUSH', queue.pending, id)
  elseif state == 'scheduled' then
    redis.call('ZADD', queue.scheduled, whole(due / 1000000), id)
  else
    redis.call('ZADD', options.group_key, whole(seconds_up(now)), id)
  end
  return { 1, state, math.floor(due / 1000) }
end
