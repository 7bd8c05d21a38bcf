-- Find uniqueness locks without a task. A lock that only expires may outlive its task.
-- flags: allow-oom
-- KEYS: pending active | lock
-- ARGV: prefix repair
--   repair: 1 or empty.
-- answers: each 1 if the task is missing, else 0
-- @include arguments types keys

keys_taken = 2
local prefix, repair, answers = arg(), arg(), {}
local stray = {}
for i = 1, #KEYS - 2 do
  local lock = key()
  local owner = try('GET', lock)
  local gone = owner and string.sub(owner, 1, 7) ~= 'expiry:' and redis.call('EXISTS', task_key(prefix, owner)) == 0
  answers[i] = gone and 1 or 0
  if gone then stray[#stray + 1] = lock end
end
if repair ~= '' then
  for _, lock in ipairs(stray) do redis.call('DEL', lock) end
end
return answers
