-- Atomically enqueue an aggregate and delete the tasks of its set with their locks. The aggregate may have the
-- id and the lock of one of them.
-- flags: allow-oom
-- KEYS: pending scheduled groups archived completed set sets hash | | lock_or_group* member_lock*
-- ARGV: now prefix id msg enqueue_id options
--   hash, lock_or_group, and what follows prefix: of the aggregate, as for enqueue.
--   member_lock: the locks of the tasks in the set.
-- answers: as enqueue for one task, or {-3} if the set is no longer held
-- @include arguments types time keys sequence lock delete enqueue

local queue = queue_of_keys()
local set, sets, hash = key(), key(), key()
local refusal = misplaced(set, 'zset') or misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, id, msg, enqueue_id = microseconds(arg()), arg(), arg(), arg(), arg()
local options = options_of(arg())

-- If the set is no longer held, a copy of the call that finished it gets the same answer.
if not redis.call('ZSCORE', sets, set) and try('HGET', hash, 'enqueue_id') ~= enqueue_id then return { -3 } end

-- One command for all members: a set may have hundreds.
local members, tasks, owned = {}, {}, {}
for _, member in ipairs(redis.call('ZRANGE', set, 0, -1)) do
  members[member] = true
  local task = task_key(prefix, member)
  -- The aggregate replaces the task with the same key.
  if task ~= hash then tasks[#tasks + 1] = task end
end
if #tasks > 0 then redis.call('EXISTS', unpack(tasks)) end
if keys_taken < #KEYS then
  for i, holder in ipairs(redis.call('MGET', unpack(KEYS, keys_taken + 1))) do
    if holder and members[holder] and KEYS[keys_taken + i] ~= options.lock then owned[#owned + 1] = KEYS[keys_taken + i] end
  end
end

local answer = enqueue(queue, now, hash, id, msg, enqueue_id, options, members)
if answer[1] ~= 1 then return answer end
if #tasks > 0 then redis.call('DEL', unpack(tasks)) end
if #owned > 0 then redis.call('DEL', unpack(owned)) end
redis.call('DEL', set)
redis.call('ZREM', sets, set)
return answer
