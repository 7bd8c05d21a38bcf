-- Create pending, scheduled or aggregating tasks, one after the other, each independently.
-- KEYS: pending scheduled | other*
-- ARGV: now prefix count | id msg | place enqueue_id options*
--   prefix: what precedes the id in the name of a task's hash. place: of each task that has options, or an
--   enqueue_id that is not its id: 1 for the first task, and so on. options: empty, or as lua/lib/enqueue.lua reads them.
--   other: if a task has options: groups archived completed, then of each task with a lock, a group or a sequence
--   the keys, in this order.
-- answers: the present ms, if all tasks are pending and none has options; else of each task {1, state, due ms}
--   | {0, state of the task that has the id} | {-1, holder of the lock} | {-2, why a key is refused}
-- @include time

local arguments, prefix, count = ARGV, ARGV[2], tonumber(ARGV[3])
local now = microseconds(arguments[1])
local ids, hashes, enqueue_ids, options, plain = {}, {}, {}, {}, true
for i = 2 * count + 4, #arguments, 3 do
  local place = tonumber(arguments[i])
  enqueue_ids[place], options[place] = arguments[i + 1], arguments[i + 2]
  plain = plain and options[place] == ''
end
local known = {}
for i = 1, count do
  local id = arguments[2 * i + 2]
  ids[i], hashes[i] = id, prefix .. id
  if known[id] then plain = false end
  known[id] = true
end
-- It also accesses each hash before the first write.
local found = redis.call('EXISTS', unpack(hashes))

-- Tasks without options and with new ids, as nearly all are: one push for all of them. True if they were created.
local function create_plain()
  if not plain or found > 0 then return false end
  if type(redis.pcall('LPUSH', KEYS[1], unpack(ids))) == 'table' then return false end
  local call, since = redis.call, nanoseconds(now)
  for i = 1, count do
    call('HSET', hashes[i], 'msg', arguments[2 * i + 3], 'state', 'pending', 'enqueue_id', enqueue_ids[i] or ids[i],
      'pending_since', since)
  end
  return true
end

if create_plain() then return math.floor(now / 1000) end

-- Everything else, also the reason why a push is refused. What follows is defined only where it is needed.
-- @include arguments types keys sequence lock delete enqueue

keys_taken = 2
local queue = { pending = KEYS[1], scheduled = KEYS[2], groups = key(), archived = key(), completed = key() }
for i = 1, count do
  options[i] = options_of(options[i] or '')
  touch(queue, hashes[i], ids[i], options[i])
end
local answers = {}
for i = 1, count do
  answers[i] = enqueue(queue, now, hashes[i], ids[i], ARGV[2 * i + 3], enqueue_ids[i] or ids[i], options[i])
end
return answers
