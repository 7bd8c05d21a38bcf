-- Move tasks to the archive, keep it within its bounds, and count the tasks as processed and failed.
-- flags: allow-oom
-- KEYS: active lease archived processed failed | hash lock | taken*
-- ARGV: now prefix max_size max_age sequence | id token msg
--   lock: the hash again if the task has none. max_age: milliseconds. sequence: of all these tasks, empty for none.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time keys sequence rewrite fence lock count delete discard

local active, lease, archived, processed, failed = key(), key(), key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset') or misplaced(archived, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, max_size, max_age = microseconds(arg()), arg(), tonumber(arg()), tonumber(arg())
local statistics = counters(processed, failed, now)
local sequence = sequence_of_runs(active, arg())

local answers, moving, seen = {}, {}, {}
while more() do
  local item = { hash = key(), lock = key(), id = arg(), token = arg(), msg = arg() }
  local task = try('HMGET', item.hash, 'state', 'lease_token', 'cancel') or {}
  local ours = owned(task[1], task[2], lease, item.id, item.token)
  if ours and not seen[item.id] then
    seen[item.id], item.cancel = true, task[3]
    moving[#moving + 1] = item
  end
  local ended_before = task[1] == 'archived' and task[2] == item.token
  answers[#answers + 1] = (ours or ended_before) and 1 or 0
end
local giving_way = {}
if #moving > 0 then
  giving_way = doomed(prefix, surplus(archived, now, max_size, max_age, #moving, #moving + 50))
end

for _, item in ipairs(moving) do
  leave(item.id)
  if sequence then leave_sequence(sequence, item.id) end
  redis.call('ZADD', archived, whole(seconds_up(now)), item.id)
  redis.call('HSET', item.hash, 'msg', rewritten(item.hash, item.msg), 'state', 'archived')
  if item.cancel then redis.call('HDEL', item.hash, 'cancel') end
end
end_runs(active, lease)
discard(archived, giving_way)
for i = 1, #moving - max_size do
  local item = moving[i]
  if item.lock ~= item.hash then release(item.lock, item.id) end
  discard(archived, { { id = item.id, hash = item.hash } })
end
forget_takes()
if sequence then advance(sequence, now) end
count(statistics, #moving, #moving)
return answers
