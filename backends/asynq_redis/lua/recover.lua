-- Recover tasks from lost workers, each only if its lease is unchanged since it was observed.
-- flags: allow-oom
-- KEYS: active lease pending retry archived processed failed | hash lock
-- ARGV: now prefix max_size max_age sequence | id score token to delay msg
--   lock: the hash again if the task has none. score, token: as observed. to: pending, retry or archived.
--   sequence: of all these tasks, empty for none.
-- answers: each 1, or 0 if the lease has changed
-- @include arguments types time keys sequence rewrite fence lock count delete discard

local active, lease, pending, retry, archived = key(), key(), key(), key(), key()
local processed, failed = key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset') or misplaced(pending, 'list')
  or misplaced(retry, 'zset') or misplaced(archived, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, max_size, max_age = microseconds(arg()), arg(), tonumber(arg()), tonumber(arg())
local statistics = counters(processed, failed, now)
local sequence = sequence_of_runs(active, arg())

local answers, moving, archiving, seen = {}, {}, {}, {}
while more() do
  local item = {
    hash = key(), lock = key(), id = arg(), score = arg(), token = arg(), to = arg(),
    delay = tonumber(arg()), msg = arg(),
  }
  local task = try('HMGET', item.hash, 'lease_token', 'unique_until', 'unique_keep', 'state')
  local score = redis.call('ZSCORE', lease, item.id)
  local active_still = task and (not task[4] or task[4] == 'active')
  local unchanged = active_still and (task[1] or '') == item.token and score and tonumber(score) == tonumber(item.score)
  if unchanged and not seen[item.id] then
    seen[item.id] = true
    item.ends, item.keep = task[2], task[3]
    moving[#moving + 1] = item
    if item.to == 'archived' then archiving[#archiving + 1] = item end
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
local giving_way = {}
if #archiving > 0 then
  giving_way = doomed(prefix, surplus(archived, now, max_size, max_age, #archiving, #archiving + 50))
end

for _, item in ipairs(moving) do
  leave(item.id)
  redis.call('HSET', item.hash, 'msg', rewritten(item.hash, item.msg), 'state', item.to)
  redis.call('HINCRBY', item.hash, 'lease_losses', 1)
  redis.call('HDEL', item.hash, 'lease_token')
  if item.to == 'pending' then
    redis.call('RPUSH', pending, item.id)
    redis.call('HSET', item.hash, 'pending_since', nanoseconds(now))
  elseif item.to == 'retry' then
    redis.call('ZADD', retry, whole(seconds_up(now + item.delay * 1000)), item.id)
  else
    redis.call('ZADD', archived, whole(seconds_up(now)), item.id)
    redis.call('HDEL', item.hash, 'cancel')
    if sequence then leave_sequence(sequence, item.id) end
  end
  if item.keep and item.ends ~= 'start' and item.to ~= 'archived' and item.lock ~= item.hash then
    renew(item.lock, item.id, item.ends, item.keep, item.delay)
  end
end
end_runs(active, lease)
discard(archived, giving_way)
for i = 1, #archiving - max_size do
  local item = archiving[i]
  if item.lock ~= item.hash then release(item.lock, item.id) end
  discard(archived, { { id = item.id, hash = item.hash } })
end
if sequence then advance(sequence, now) end
count(statistics, #moving, #moving)
return answers
