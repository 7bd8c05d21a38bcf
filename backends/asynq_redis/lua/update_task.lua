-- Replace the message of a task if it is unchanged, and its due time. The lock that it owns is renamed, and moved
-- with the due time.
-- KEYS: hash pending group old_lock new_lock due
-- ARGV: now id found msg state joins at in
--   group, old_lock, new_lock: the hash again if the task has none. due: the scheduled or retried tasks. found: the
--   message as it was read. joins: 1 if it names members, or empty. at, in: the new due time, as Unix milliseconds or
--   milliseconds from now; both empty to keep it.
-- answers: {1} | {0} if the task has changed | {-1, holder of the new lock} | {-2} if it waits for others or is parked
-- @include arguments types time keys sequence lock

local hash, _, group, old_lock, new_lock, waiting = key(), key(), key(), key(), key(), key()
local now, id, found, msg, state = microseconds(arg()), arg(), arg(), arg(), arg()
local joins, at, delay = arg() ~= '', tonumber(arg()), tonumber(arg())
local task = try('HMGET', hash, 'msg', 'state', 'unique_until', 'unique_keep', 'lease_token') or {}
if task[1] ~= found or task[2] ~= state then return { 0 } end
if is_parked(state, task[5]) then return { -2 } end
if state == 'aggregating' and not try('ZSCORE', group, id) then return { 0 } end

local due, later
if at or delay then
  local before = try('ZSCORE', waiting, id)
  if not before then return { 0 } end
  if tonumber(before) == WAITING and (joins or try('HEXISTS', hash, 'sequence') == 1) then return { -2 } end
  due = due_second(math.max(at and at * 1000 or now + delay * 1000, now))
  later = due - tonumber(before)
end
local holder = try('GET', old_lock)
local owned = holder and (holder == id or holder == 'expiry:' .. id)
if old_lock ~= new_lock then
  local other = try('GET', new_lock)
  if owned and other then return { -1, other } end
end

if due then redis.call('ZADD', waiting, whole(due), id) end
if owned then
  local left = redis.call('PTTL', old_lock)
  if due and state == 'scheduled' then left = left + later * 1000 end
  if old_lock ~= new_lock then redis.call('DEL', old_lock) end
  redis.call('SET', new_lock, holder, 'PX', whole(math.max(left, 1)))
end
if due and state == 'retry' and task[4] and task[3] ~= 'start' then
  renew(new_lock, id, task[3], task[4], due * 1000 - math.floor(now / 1000))
end
if old_lock ~= new_lock then redis.call('HSET', hash, 'unique_key', new_lock) end
redis.call('HSET', hash, 'msg', msg)
return { 1 }
