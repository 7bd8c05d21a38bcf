-- Delete finished tasks, release their locks, and count them as processed.
-- flags: allow-oom
-- KEYS: active lease processed failed | hash lock | taken*
-- ARGV: now sequence | id token
--   lock: the hash again if the task has none. sequence: of all these tasks, empty for none.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time keys sequence fence lock count

local active, lease, processed, failed = key(), key(), key(), key()
local now = microseconds(arg())
local statistics = counters(processed, failed, now)
local sequence = sequence_of_runs(active, arg())

local ids = {}
for place = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[place] end
-- One look at each tells its type too, before the first write.
local scores, oldest = try('ZMSCORE', lease, unpack(ids)), try('LRANGE', active, -#ids, -1)
if not (scores and oldest) then
  return redis.error_reply(misplaced(active, 'list') or misplaced(lease, 'zset'))
end

local answers, hashes, ended = {}, {}, {}
for i, id in ipairs(ids) do
  local hash, lock = KEYS[2 * i + 3], KEYS[2 * i + 4]
  local task = redis.pcall('HMGET', hash, 'state', 'lease_token')
  if task.err then pass_wrong_type(task) end
  local ours = task[1] == 'active' and task[2] == ARGV[2 * i + 2] and fractional(scores[i])
  if ours and not ended[id] then
    leave(id)
    if lock ~= hash then release(lock, id) end
    if sequence then leave_sequence(sequence, id) end
    hashes[#hashes + 1], ended[id] = hash, true
    answers[i] = 1
  else
    answers[i] = 0
  end
end
keys_taken = 2 * #ids + 4
if #hashes > 0 then redis.call('DEL', unpack(hashes)) end
end_runs(active, lease, oldest)
forget_takes()
if sequence then advance(sequence, now) end
count(statistics, #hashes, 0)
return answers
