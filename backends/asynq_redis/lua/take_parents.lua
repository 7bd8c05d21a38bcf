-- Hold completed tasks that others follow and that nobody holds, those that ended first first. Drops ids without a
-- task.
-- flags: allow-oom
-- KEYS: completed archived
-- ARGV: now prefix kept held hold limit
--   kept, held: seconds beyond now from which a task is such a parent, and up to which it is not held. hold:
--   milliseconds.
-- answers: each {id, msg, result or nil, score}
-- @include arguments types time keys

-- Bytes of messages and results after which no further task is held, so that the reply arrives in time.
local MOST_BYTES = 8 * 1024 * 1024

local completed = key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return {} end
local refusal = misplaced(completed, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix = microseconds(arg()), arg()
local kept, held, hold, limit = tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())

local score = whole(seconds_up(now + hold * 1000) + held)
local ids = redis.call('ZRANGEBYSCORE', completed, '(' .. whole(seconds_up(now) + kept),
  whole(math.floor(now / 1000000) + held), 'LIMIT', 0, limit)
local taken, gone, bytes = {}, {}, 0
for _, id in ipairs(ids) do
  if bytes >= MOST_BYTES then break end
  local task = try('HMGET', task_key(prefix, id), 'msg', 'result')
  if task and task[1] then
    bytes = bytes + #task[1] + #(task[2] or '')
    taken[#taken + 1] = { id, task[1], task[2], score }
  elseif task then
    gone[#gone + 1] = id
  end
end
for _, task in ipairs(taken) do redis.call('ZADD', completed, score, task[1]) end
if #gone > 0 then redis.call('ZREM', completed, unpack(gone)) end
return taken
