-- Create pending, scheduled or aggregating tasks, one after the other, each independently.
-- KEYS: pending scheduled | hash | other*
-- ARGV: now | id msg enqueue_id options
--   options: empty, or as lua/lib/enqueue.lua reads them.
--   other: if a task has options: groups archived completed, then of each task with a lock, a group or a sequence
--   the keys, in this order.
-- answers: each the present ms of a pending task without options | {1, state, due ms}
--   | {0, state of the task that has the id} | {-1, holder of the lock} | {-2, why a key is refused}
-- @include time

local count = (#ARGV - 1) / 4
local hashes = { unpack(KEYS, 3, count + 2) }
local now = microseconds(ARGV[1])

-- Tasks without options and with new ids, as nearly all are: one push for all of them. True if they were created.
local function create_plain()
  local ids, known = {}, {}
  for i = 1, count do
    if ARGV[4 * i + 1] ~= '' or known[hashes[i]] then return false end
    ids[i], known[hashes[i]] = ARGV[4 * i - 2], true
  end
  if redis.call('EXISTS', unpack(hashes)) > 0 then return false end
  if type(redis.pcall('LPUSH', KEYS[1], unpack(ids))) == 'table' then return false end
  local since = nanoseconds(now)
  for i = 1, count do
    redis.call('HSET', hashes[i], 'msg', ARGV[4 * i - 1], 'state', 'pending', 'enqueue_id', ARGV[4 * i],
      'pending_since', since)
  end
  return true
end

local answers = {}
if create_plain() then
  for i = 1, count do answers[i] = math.floor(now / 1000) end
  return answers
end

-- Everything else, also the reason why a push is refused. What follows is defined only where it is needed.
-- @include arguments types keys sequence lock delete enqueue

keys_taken = count + 2
local queue = { pending = KEYS[1], scheduled = KEYS[2], groups = key(), archived = key(), completed = key() }
local options = {}
for i = 1, count do
  options[i] = options_of(ARGV[4 * i + 1])
  touch(queue, hashes[i], ARGV[4 * i - 2], options[i])
end
for i = 1, count do
  answers[i] = enqueue(queue, now, hashes[i], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i], options[i])
end
return answers
