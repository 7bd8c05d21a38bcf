-- Find tasks that their queue does not list, and remnants of tasks.
-- flags: no-writes
-- KEYS: pending active lease scheduled retry archived completed groups sets
-- ARGV: prefix | id
-- answers: each nil if there is no fault, else {msg or empty, state, group}
-- @include arguments types keys places

local places = places_of_keys()
if places.refusal then return redis.error_reply(places.refusal) end
local prefix, answers = arg(), {}
while more() do
  local id = arg()
  local task = try('HMGET', task_key(prefix, id), 'msg', 'state', 'group', 'pending_since')
  local gone = not task or redis.call('EXISTS', task_key(prefix, id)) == 0
  if gone or (task[1] and listed(places, prefix, id, task[2], task[3], task[4])) then
    answers[#answers + 1] = false
  else
    answers[#answers + 1] = { task[1] or '', task[2] or '', task[3] or '' }
  end
end
return answers
