-- Enqueue the tasks of ticks that are not decided yet, one after the other, each independently.
-- KEYS: pending scheduled groups archived completed | mark hash | lock_or_group*
-- ARGV: now | tick keep id msg enqueue_id options
--   mark: the latest decided tick of the entry: "tick state due enqueue_id". The state and its time are
--   missing if the task was refused.
--   tick: milliseconds. keep: milliseconds to keep the mark. The rest as in enqueue.lua.
-- answers: each {2} decided before | {3, milliseconds until it is due} | as enqueue.lua
-- @include arguments types time keys sequence lock delete enqueue

local queue = queue_of_keys()
local now = microseconds(arg())
local count = (#ARGV - 1) / 6
keys_taken = 2 * count + 5
local options = {}
for i = 1, count do
  options[i] = options_of(ARGV[6 * i + 1])
  touch(queue, KEYS[2 * i + 5], ARGV[6 * i - 2], options[i])
end

local function decide(mark, hash, tick, keep, id, msg, enqueue_id, task_options)
  local early = tonumber(tick) - math.floor(now / 1000)
  if early > 0 then return { 3, early } end
  local found = try('GET', mark) or ''
  local last, state, due, by = string.match(found, '^(%d+) (%a*) (%d*) (.*)$')
  if last and (tonumber(last) > tonumber(tick) or (last == tick and by ~= enqueue_id)) then return { 2 } end
  if last == tick and state ~= '' then return { 1, state, tonumber(due) } end
  local answer = enqueue(queue, now, hash, id, msg, enqueue_id, task_options)
  if answer[1] >= -1 then
    local made = answer[1] == 1 and answer[2] .. ' ' .. whole(answer[3]) or ' '
    redis.call('SET', mark, tick .. ' ' .. made .. ' ' .. enqueue_id, 'PX', keep)
  end
  return answer
end

local answers = {}
for i = 1, count do
  local mark, hash, tick, keep, id, msg, enqueue_id = KEYS[2 * i + 4], KEYS[2 * i + 5], arg(), arg(), arg(), arg(), arg()
  arg()
  answers[i] = decide(mark, hash, tick, keep, id, msg, enqueue_id, options[i])
end
return answers
