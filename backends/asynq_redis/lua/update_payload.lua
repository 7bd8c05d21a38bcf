-- Replace the message of a task if it is unchanged. The lock that it owns is renamed.
-- KEYS: hash pending group old_lock new_lock
-- ARGV: id found msg state
--   group, old_lock, new_lock: the hash again if the task has none. found: the message as it was read.
-- answers: {1} | {0} if the task has changed | {-1, holder of the new lock}
-- @include arguments types time

local hash, _, group, old_lock, new_lock = key(), key(), key(), key(), key()
local id, found, msg, state = arg(), arg(), arg(), arg()
local task = try('HMGET', hash, 'msg', 'state') or {}
if task[1] ~= found or task[2] ~= state then return { 0 } end
if state == 'aggregating' and not try('ZSCORE', group, id) then return { 0 } end

if old_lock ~= new_lock then
  local holder = try('GET', old_lock)
  local owned = holder == id or holder == 'expiry:' .. id
  local other = try('GET', new_lock)
  if owned and other then return { -1, other } end
  if owned then
    redis.call('SET', new_lock, holder, 'PX', whole(math.max(redis.call('PTTL', old_lock), 1)))
    redis.call('DEL', old_lock)
  end
  redis.call('HSET', hash, 'unique_key', new_lock)
end
redis.call('HSET', hash, 'msg', msg)
return { 1 }
