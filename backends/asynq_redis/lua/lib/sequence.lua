-- Sequences: tasks that run one at a time, in order. `py:seq:NAME` has the ids of a sequence by their place, and
-- `py:sequences` the names. A task that waits for its turn is scheduled for WAITING, and no other.
local WAITING = 253370764800
-- The due time of parked tasks, see lua/lib/parked.lua.
local PARKED = WAITING + 86400
-- Maximum ids examined for the one whose turn it is: one more than a call can end. Those of tasks that have ended
-- are removed.
local MOST_EXAMINED = 51

-- Whole seconds of the due time of a scheduled task, rounded up.
local function due_second(us)
  local second = seconds_up(us)
  if second == WAITING then return second + 1 end
  return second
end

-- The keys of a sequence. It accesses every key that a step of the sequence writes. With a `refusal`, the
-- reason why one of them cannot be used, the sequence is left unchanged.
local sequences = {}
local function sequence_at(prefix, name)
  if sequences[name] then return sequences[name] end
  local sequence = {
    name = name, prefix = prefix, key = prefix .. 'py:seq:' .. name, names = prefix .. 'py:sequences',
    pending = prefix .. 'pending', scheduled = prefix .. 'scheduled', known = {},
  }
  sequence.refusal = misplaced(sequence.key, 'zset') or misplaced(sequence.names, 'zset')
    or misplaced(sequence.pending, 'list') or misplaced(sequence.scheduled, 'zset')
  local hashes = { sequence.names }
  for _, id in ipairs(try('ZRANGE', sequence.key, 0, MOST_EXAMINED - 1) or {}) do
    hashes[#hashes + 1], sequence.known[id] = task_key(prefix, id), true
  end
  redis.call('EXISTS', unpack(hashes))
  sequences[name] = sequence
  return sequence
end

-- The sequence of the runs that a call settles, or nil. `active` is the key of that name.
local function sequence_of_runs(active, name)
  if name == '' then return nil end
  return sequence_at(string.sub(active, 1, -#'active' - 1), name)
end

-- Whether a task with this lease token is parked.
local function is_parked(state, token)
  return state == 'scheduled' and string.sub(token or '', 1, 7) == 'parked '
end

local function waits(sequence, state, id)
  return state == 'scheduled' and tonumber(try('ZSCORE', sequence.scheduled, id) or 0) == WAITING
end

local function leave_sequence(sequence, id)
  if not sequence.refusal then redis.call('ZREM', sequence.key, id) end
end

local function first_of(sequence)
  return redis.call('ZRANGE', sequence.key, 0, 0)[1]
end

-- Make the first task of the sequence that has not ended pending if it waits. Returns true if it did. Ids beyond
-- those that were accessed before the first write are left to AdvanceSequences.
local function advance(sequence, now)
  if sequence.refusal then return nil end
  local id = first_of(sequence)
  while id and sequence.known[id] do
    local hash = task_key(sequence.prefix, id)
    local task = try('HMGET', hash, 'state', 'sequence') or {}
    if task[1] and task[2] == sequence.name and task[1] ~= 'archived' and task[1] ~= 'completed' then
      if not waits(sequence, task[1], id) then return nil end
      redis.call('ZREM', sequence.scheduled, id)
      redis.call('LPUSH', sequence.pending, id)
      redis.call('HSET', hash, 'state', 'pending', 'pending_since', nanoseconds(now))
      return true
    end
    redis.call('ZREM', sequence.key, id)
    id = first_of(sequence)
  end
  if not id then redis.call('ZREM', sequence.names, sequence.name) end
end

-- Give a task the last place of its sequence.
local function add_place(sequence, id)
  local last = redis.call('ZRANGE', sequence.key, -1, -1, 'WITHSCORES')[2] or 0
  redis.call('ZADD', sequence.key, whole(tonumber(last) + 1), id)
  redis.call('ZADD', sequence.names, 0, sequence.name)
  sequence.known[id] = true
end

-- Put a task at the tail of its sequence. It becomes pending if it is its turn. Returns whether it did.
local function join_sequence(sequence, id, now)
  add_place(sequence, id)
  redis.call('ZADD', sequence.scheduled, WAITING, id)
  redis.call('HSET', task_key(sequence.prefix, id), 'state', 'scheduled')
  return advance(sequence, now) and not waits(sequence, 'scheduled', id)
end
