-- Read tasks with everything that belongs to them, and park them.
-- flags: allow-oom
-- KEYS: pending scheduled retry archived completed groups transfer | hash
-- ARGV: now prefix park held transfer claim | id
--   park: 1 or empty. held: a completed task that is kept longer than these seconds from now is held by a server.
-- answers: -9 if the claim is not held; or each nil if there is no task | {the state that does not allow it} | {state, msg, score or -, pending since
--   in ns or -, group, ms left of its lock or empty, until, keep, lease losses, cancel, place or 0, result or nil}
-- @include arguments types time keys sequence lock delete manage parked

local queue = queue_of_keys()
if queue.refusal then return redis.error_reply(queue.refusal) end
local claim = key()
local now, prefix, park, held, transfer = microseconds(arg()), arg(), arg() ~= '', tonumber(arg()), arg()
if not claimed(claim, arg()) then return -9 end

-- The place of the task in its sequence, and whether another task of it is active.
local function turn(task)
  local place = task.sequence and try('ZSCORE', task.sequence.key, task.id)
  if not place then return '0' end
  local head = first_of(task.sequence)
  return whole(tonumber(place)), head ~= task.id and try('HGET', task_key(prefix, head), 'state') == 'active'
end

-- Milliseconds until the lock that the task holds ends, at least 1; empty if it holds none.
local function left_of_lock(task)
  local holder = task.lock and try('GET', task.lock)
  if not holder or (holder ~= task.id and holder ~= 'expiry:' .. task.id) then return '' end
  return whole(math.max(redis.call('PTTL', task.lock), 1))
end

local answers, parking = {}, {}
while more() do
  local hash, id = key(), arg()
  local task = look_up(queue, prefix, id)
  local found = try('HMGET', hash, 'msg', 'lease_token', 'pending_since', 'lease_losses', 'cancel', 'result') or {}
  local state, score, since, by = place_before(task.state, found[2])
  if not state then
    state, since = task.state, found[3] or '-'
    score = task.source and task.source ~= queue.pending and try('ZSCORE', task.source, id)
    score = score and whole(tonumber(score)) or '-'
  end
  local place, busy = turn(task)
  if state == 'completed' and tonumber(score) and tonumber(score) > math.floor(now / 1000000) + held then busy = true end
  local answer, ours = false, found[1] and (not by or by == transfer)
  if ours and (busy or task.held or not task.source) then
    answer = { state }
  elseif ours then
    answer = {
      state, found[1], score, since, task.group, left_of_lock(task), task.ends or 'done', task.keep or '0',
      found[4] or '0', found[5] or '', place, found[6],
    }
    if park then
      task.token = 'parked ' .. state .. ' ' .. score .. ' ' .. since .. ' ' .. transfer
      parking[#parking + 1] = task
    end
  end
  answers[#answers + 1] = answer
end

-- To park a task again changes nothing.
for _, task in ipairs(parking) do
  leave_source(queue, task)
  redis.call('ZADD', queue.scheduled, whole(PARKED), task.id)
  redis.call('HSET', task.hash, 'state', 'scheduled', 'lease_token', task.token)
  redis.call('HDEL', task.hash, 'pending_since')
end
return answers
