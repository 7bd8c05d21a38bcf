-- Move tasks by hand, each from its current state.
-- flags: allow-oom
-- KEYS: pending scheduled retry archived completed groups | hash
-- ARGV: now prefix to max_size max_age | id
--   to: pending, archived or deleted. max_age: milliseconds.
-- answers: each {1} | {0} if there is no such task | {-1, the state that does not allow it}
-- @include arguments types time keys sequence lock delete discard manage

local queue = queue_of_keys()
if queue.refusal then return redis.error_reply(queue.refusal) end
local now, prefix, to = microseconds(arg()), arg(), arg()
local max_size, max_age = tonumber(arg()), tonumber(arg())

local ids, moving, seen = {}, {}, {}
while more() do
  local id = arg()
  local task = look_up(queue, prefix, id)
  ids[#ids + 1] = id
  if movable(task, to) and not seen[id] then
    seen[id] = true
    moving[#moving + 1] = task
  end
end
local giving_way = room_for(queue, prefix, moving, to, now, max_size, max_age)

local answers = {}
for i, id in ipairs(ids) do
  -- Read again: the same id may have been moved by this call.
  local task = look_up(queue, prefix, id)
  if movable(task, to) then
    leave_source(queue, task)
    put(queue, task, to, now)
    answers[i] = { 1 }
  elseif task.known then
    answers[i] = { -1, task.state }
  else
    answers[i] = { 0 }
  end
end
discard(queue.archived, giving_way)
return answers
