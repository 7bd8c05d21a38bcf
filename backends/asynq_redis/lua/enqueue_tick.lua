-- Enqueue the tasks of ticks that are not decided yet, one after the other, each independently.
-- KEYS: pending scheduled groups archived completed | mark hash lock group
-- ARGV: now | tick keep id msg at in group enqueue_id ttl until keep_lock replace
--   mark: the latest decided tick of the entry: "tick state due enqueue_id". The state and its time are
--   missing if the task was refused.
--   tick: milliseconds. keep: milliseconds to keep the mark. The rest as in enqueue.lua.
-- answers: each {2} decided before | {3, milliseconds until it is due} | as enqueue.lua
-- @include arguments types time lock delete enqueue

local queue = queue_of_keys()
if queue.refusal then return redis.error_reply(queue.refusal) end
local now = microseconds(arg())
for i = 1, #ARGV / 12 do touch_replaced(KEYS[i * 4 + 3], ARGV[i * 12 - 8], ARGV[i * 12 + 1]) end

-- Skip the arguments and keys of a task that is not enqueued.
local function skip()
  for _ = 1, 10 do arg() end
  for _ = 1, 3 do key() end
end

local function decide(mark, tick, keep)
  local enqueue_id = ARGV[args_taken + 6]
  local early = tonumber(tick) - math.floor(now / 1000)
  if early > 0 then
    skip()
    return { 3, early }
  end
  local found = try('GET', mark) or ''
  local last, state, due, by = string.match(found, '^(%d+) (%a*) (%d*) (.*)$')
  if last and (tonumber(last) > tonumber(tick) or (last == tick and by ~= enqueue_id)) then
    skip()
    return { 2 }
  end
  if last == tick and state ~= '' then
    skip()
    return { 1, state, tonumber(due) }
  end
  local answer = enqueue(queue, now, key(), key(), key())
  if answer[1] >= -1 then
    local made = answer[1] == 1 and answer[2] .. ' ' .. whole(answer[3]) or ' '
    redis.call('SET', mark, tick .. ' ' .. made .. ' ' .. enqueue_id, 'PX', keep)
  end
  return answer
end

local answers = {}
while more() do
  local mark, tick, keep = key(), arg(), arg()
  answers[#answers + 1] = decide(mark, tick, keep)
end
return answers
