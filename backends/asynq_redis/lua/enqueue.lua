-- Create pending, scheduled or aggregating tasks, one after the other, each independently.
-- KEYS: pending scheduled | hash | other*
-- ARGV: now count | id msg | place enqueue_id options*
--   place: of each task that has options, or an enqueue_id that is not its id: 1 for the first task, and so on.
--   options: empty, or as lua/lib/enqueue.lua reads them.
--   other: if a task has options: groups archived completed, then of each task with a lock, a group or a sequence
--   the keys, in this order.
-- answers: the present ms, if all tasks are pending and none has options; else of each task {1, state, due ms}
--   | {0, state of the task that has the id} | {-1, holder of the lock} | {-2, why a key is refused}
-- @include time

local count = tonumber(ARGV[2])
local hashes = { unpack(KEYS, 3, count + 2) }
local now = microseconds(ARGV[1])
local enqueue_ids, options = {}, {}
for i = 2 * count + 3, #ARGV, 3 do
  enqueue_ids[tonumber(ARGV[i])], options[tonumber(ARGV[i])] = ARGV[i + 1], ARGV[i + 2]
end

-- Tasks without options and with new ids, as nearly all are: one push for all of them. True if they were created.
local function create_plain()
  local ids, known = {}, {}
  for i = 1, count do
    if (options[i] or '') ~= '' or known[hashes[i]] then return false end
    ids[i], known[hashes[i]] = ARGV[2 * i + 1], true
  end
  if redis.call('EXISTS', unpack(hashes)) > 0 then return false end
  if type(redis.pcall('LPUSH', KEYS[1], unpack(ids))) == 'table' then return false end
  local since = nanoseconds(now)
  for i = 1, count do
    redis.call('HSET', hashes[i], 'msg', ARGV[2 * i + 2], 'state', 'pending', 'enqueue_id', enqueue_ids[i] or ids[i],
      'pending_since', since)
  end
  return true
end

if create_plain() then return math.floor(now / 1000) end

-- Everything else, also the reason why a push is refused. What follows is defined only where it is needed.
-- @include arguments types keys sequence lock delete enqueue

keys_taken = count + 2
local queue = { pending = KEYS[1], scheduled = KEYS[2], groups = key(), archived = key(), completed = key() }
for i = 1, count do
  options[i] = options_of(options[i] or '')
  touch(queue, hashes[i], ARGV[2 * i + 1], options[i])
end
local answers = {}
for i = 1, count do
  local id = ARGV[2 * i + 1]
  answers[i] = enqueue(queue, now, hashes[i], id, ARGV[2 * i + 2], enqueue_ids[i] or id, options[i])
end
return answers
