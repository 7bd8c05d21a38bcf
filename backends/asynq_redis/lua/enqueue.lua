-- Create pending, scheduled or aggregating tasks, one after the other, each independently.
-- KEYS: pending scheduled groups archived completed | hash lock group
-- ARGV: now | id msg at in group enqueue_id ttl until keep replace
--   hash, lock, group: the hash again if the task has no lock or no group.
--   at, in: earliest run, as Unix milliseconds or milliseconds from now; empty for now.
--   ttl: of the lock, milliseconds, empty for no lock. until: done, expiry or start. keep, replace: 1 or empty.
-- answers: each {1, state, due ms} | {0, state of the task that has the id} | {-1, holder of the lock}
--   | {-2, why a key is refused}
-- @include arguments types time lock delete enqueue

local queue = queue_of_keys()
if queue.refusal then return redis.error_reply(queue.refusal) end
local now = microseconds(arg())
for i = 1, #ARGV / 10 do touch_replaced(KEYS[i * 3 + 3], ARGV[i * 10 - 8], ARGV[i * 10 + 1]) end

local answers = {}
while more() do
  answers[#answers + 1] = enqueue(queue, now, key(), key(), key())
end
return answers
