-- List expired leases, oldest first. Drops ids without a task, and leases of tasks that are not active: these
-- tasks are in the collection of their state.
-- flags: allow-oom
-- KEYS: lease active
-- ARGV: now prefix grace skip limit
--   grace: extra milliseconds for a lease written by a Go worker. skip: leases to skip.
-- answers: {each lost: {id, msg, score, token, lease losses}, number dropped, next skip or -1, next expiry ms or -1}
--   next expiry: no lease that is neither listed nor left for the next skip expires before it.
-- @include arguments types time keys fence delete

-- Bytes of messages after which no further lease is listed, so that the reply arrives in time.
local MOST_BYTES = 8 * 1024 * 1024

local lease, active = key(), key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return { {}, 0, -1, -1 } end
local refusal = misplaced(lease, 'zset') or misplaced(active, 'list')
if refusal then return redis.error_reply(refusal) end
local now, prefix, grace = microseconds(arg()), arg(), tonumber(arg())
local skip, limit = tonumber(arg()), tonumber(arg())

local ms = math.floor(now / 1000)
-- Leases of Go workers within their grace may precede others: read somewhat more than requested.
local found = redis.call('ZRANGEBYSCORE', lease, '-inf', as_score(ms), 'WITHSCORES', 'LIMIT', skip, limit + 200)
-- The next lease that is not overdue. One of Go expires later than its score says, but may precede others.
local following = redis.call('ZRANGEBYSCORE', lease, '(' .. as_score(ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local soonest = following and score_ms(following)
local lost, gone, stray, passed, bytes = {}, {}, {}, 0, 0
while 2 * passed < #found and #lost + #gone + #stray < limit and bytes < MOST_BYTES do
  local id, score = found[2 * passed + 1], found[2 * passed + 2]
  passed = passed + 1
  local expired = fractional(score) or tonumber(score) * 1000 + grace <= ms
  if expired then
    local hash = task_key(prefix, id)
    local task = try('HMGET', hash, 'msg', 'lease_token', 'lease_losses', 'state') or {}
    if task[1] and task[4] and task[4] ~= 'active' then
      stray[#stray + 1] = id
    elseif task[1] then
      bytes = bytes + #task[1]
      lost[#lost + 1] = { id, task[1], score, task[2] or '', tonumber(task[3]) or 0 }
    else
      gone[#gone + 1] = doomed_task(hash, id)
    end
  else
    soonest = math.min(soonest or math.huge, score_ms(score) + grace)
  end
end
for _, task in ipairs(gone) do
  leave(task.id)
  delete_task(task)
end
remove_active(active)
for _, id in ipairs(stray) do left[#left + 1] = id end
end_leases(lease)
local exhausted = 2 * passed == #found and passed < limit + 200
return { lost, #gone, exhausted and -1 or skip + passed - #gone - #stray, soonest or -1 }
