-- Delete some tasks of a queue. When it has none left, delete the queue. With force it is paused meanwhile.
-- flags: allow-oom
-- KEYS: pending active lease scheduled retry archived completed groups sets paused processed failed names
-- ARGV: now prefix force limit
--   force: 1 or empty.
-- answers: {1 if the queue is deleted else 0, number of tasks deleted} | {-1, number of active tasks}
-- @include arguments types time keys sequence delete discard count

local pending, active, lease, scheduled, retry, archived = key(), key(), key(), key(), key(), key()
local completed, groups, sets, paused, processed, failed = key(), key(), key(), key(), key(), key()
local names = key()
local refusal = misplaced(pending, 'list') or misplaced(active, 'list') or misplaced(lease, 'zset')
  or misplaced(scheduled, 'zset') or misplaced(retry, 'zset') or misplaced(archived, 'zset')
  or misplaced(completed, 'zset') or misplaced(groups, 'set') or misplaced(sets, 'zset')
  or misplaced(names, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, force, limit = microseconds(arg()), arg(), arg(), tonumber(arg())

local running = redis.call('LLEN', active)
if running > 0 then return { -1, running } end

-- The first collection with tasks. A group or a set without tasks is only a name.
local source, kind, nameless, empty_sets = nil, 'zset', {}, {}
for _, zset in ipairs({ scheduled, retry, archived, completed }) do
  if not source and redis.call('ZCARD', zset) > 0 then source = zset end
end
local group, set
if not source then
  for _, name in ipairs(redis.call('SRANDMEMBER', groups, 50)) do
    local found = group_key(prefix, name)
    if (try('ZCARD', found) or 0) == 0 then
      nameless[#nameless + 1] = name
    elseif not source then
      source, group = found, name
    end
  end
end
if not source then
  for _, name in ipairs(redis.call('ZRANGE', sets, 0, 49)) do
    if string.sub(name, 1, #prefix) ~= prefix or (try('ZCARD', name) or 0) == 0 then
      empty_sets[#empty_sets + 1] = name
    elseif not source then
      source, set = name, name
    end
  end
end
if not source and redis.call('LLEN', pending) > 0 then source, kind = pending, 'list' end
if source and force == '' then return { -1, 0 } end

-- Without tasks, the places that others left in sequences mean nothing.
local places, sequences = {}, source and {} or redis.call('ZRANGE', names, 0, 49)
for i, name in ipairs(sequences) do places[i] = prefix .. 'py:seq:' .. name end
if #places > 0 then redis.call('EXISTS', unpack(places)) end

if not source and #nameless == 0 and #empty_sets == 0 and #places == 0 then
  local doomed_keys = { pending, active, lease, scheduled, retry, archived, completed, groups, sets, paused,
    processed, failed, names }
  for day = 0, 90 do
    local on = ':' .. date(now - day * 86400000000)
    doomed_keys[#doomed_keys + 1] = processed .. on
    doomed_keys[#doomed_keys + 1] = failed .. on
  end
  redis.call('DEL', unpack(doomed_keys))
  return { 1, 0 }
end

-- Remove a deleted task from its sequence. The queue is paused: whoever goes on with it advances the sequence.
local function forget_place(sequence, id)
  leave_sequence(sequence, id)
  if not sequence.refusal and redis.call('ZCARD', sequence.key) == 0 then
    redis.call('ZREM', sequence.names, sequence.name)
  end
end

local tasks = {}
if source then
  local ids = kind == 'list' and redis.call('LRANGE', source, -limit, -1) or redis.call('ZRANGE', source, 0, limit - 1)
  tasks = doomed(prefix, ids)
end
for _, task in ipairs(tasks) do
  local name = (try('HMGET', task.hash, 'sequence') or {})[1]
  task.sequence = name and sequence_at(prefix, name)
end
if force ~= '' then redis.call('SET', paused, whole(math.floor(now / 1000000)), 'NX') end
if kind == 'list' then redis.call('RPOP', source, #tasks) end
for _, task in ipairs(tasks) do
  delete_task(task)
  if task.sequence then forget_place(task.sequence, task.id) end
  if kind == 'zset' then redis.call('ZREM', source, task.id) end
end
if group and redis.call('ZCARD', source) == 0 then redis.call('SREM', groups, group) end
if set and redis.call('ZCARD', source) == 0 then redis.call('ZREM', sets, set) end
for _, name in ipairs(nameless) do redis.call('SREM', groups, name) end
for _, name in ipairs(empty_sets) do redis.call('ZREM', sets, name) end
if #places > 0 then
  redis.call('DEL', unpack(places))
  redis.call('ZREM', names, unpack(sequences))
end
return { 0, #tasks }
