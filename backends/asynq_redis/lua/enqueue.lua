-- Create pending, scheduled or aggregating tasks, one after the other, each independently.
-- KEYS: pending scheduled groups archived completed | hash | lock_or_group*
-- ARGV: now | id msg enqueue_id options
--   options: empty, or as lua/lib/enqueue.lua reads them. Of a task with a lock or a group, lock_or_group has the
--   keys, in this order.
-- answers: each the present ms of a pending task without options | {1, state, due ms}
--   | {0, state of the task that has the id} | {-1, holder of the lock} | {-2, why a key is refused}
-- @include arguments types time lock delete enqueue

local queue = queue_of_keys()
local now = microseconds(arg())
local count = (#ARGV - 1) / 4
local hashes = { unpack(KEYS, 6, count + 5) }
keys_taken = count + 5
for i = 1, count do touch_replaced(hashes[i], ARGV[4 * i - 2], ARGV[4 * i + 1]) end

local answers = {}
local ms, since = math.floor(now / 1000), nanoseconds(now)
local plain, ids = {}, {}

-- Create the tasks without options since the last call: one push for all of them.
local function create_plain()
  if #ids == 0 then return end
  local refusal = refused('list', 'LPUSH', queue.pending, unpack(ids))
  for _, i in ipairs(plain) do
    answers[i] = refusal and { -2, refusal } or ms
    if not refusal then
      redis.call('HSET', hashes[i], 'msg', ARGV[4 * i - 1], 'state', 'pending', 'enqueue_id', ARGV[4 * i],
        'pending_since', since)
    end
  end
  plain, ids = {}, {}
end

local all_new, coming = redis.call('EXISTS', unpack(hashes)) == 0, {}
for i = 1, count do
  local hash, id, options = hashes[i], ARGV[4 * i - 2], ARGV[4 * i + 1]
  if options == '' and all_new and not coming[hash] then
    coming[hash] = true
    plain[#plain + 1], ids[#ids + 1] = i, id
  else
    create_plain()
    answers[i] = enqueue(queue, now, hash, id, ARGV[4 * i - 1], ARGV[4 * i], options_of(options))
  end
end
create_plain()
return answers
