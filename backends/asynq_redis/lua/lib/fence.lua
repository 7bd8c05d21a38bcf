-- Fencing: a run owns its task while the task is active with the token of the run and the score of its lease is
-- a fraction. A Go worker that takes or extends the lease writes an integer.
local function fractional(score)
  return score and tonumber(score) % 1 ~= 0
end

-- The score of the lease if the run owns its task, else nothing.
local function owned(state, found, lease, id, token)
  if state ~= 'active' or found ~= token then return nil end
  local score = redis.call('ZSCORE', lease, id)
  return fractional(score) and score
end

-- End runs: note the ids, then remove them from `active` and their leases all at once.
local left = {}

local function leave(id)
  left[#left + 1] = id
end

-- Number of ids for which one pass over `active` pays.
local MANY_LEFT = 10

-- Whether these runs are the longest running ones, in the order in which they began. `oldest`: the right end of
-- `active`.
local function longest_running(oldest)
  for i, id in ipairs(left) do
    if oldest[#oldest + 1 - i] ~= id then return false end
  end
  return true
end

-- Whether a run is at or near to the right end of `active`.
local function near_end(active, id)
  return redis.call('LPOS', active, id, 'RANK', -1, 'MAXLEN', 2 * #left)
end

-- Remove ids from `active`, where the longest running ones are on the right. Runs that end in the order in which
-- they began are at its end, or near to it. In any other order, one pass finds all of them, and they are removed
-- together.
local function remove_active(active, oldest)
  if #left == 0 then return end
  if longest_running(oldest or redis.call('LRANGE', active, -#left, -1)) then
    redis.call('LTRIM', active, 0, -#left - 1)
    return
  end
  if #left < MANY_LEFT or near_end(active, left[1]) and near_end(active, left[#left]) then
    for _, id in ipairs(left) do redis.call('LREM', active, -1, id) end
    return
  end
  local leaving = {}
  for _, id in ipairs(left) do leaving[id] = true end
  for i, id in ipairs(redis.call('LRANGE', active, 0, -1)) do
    if leaving[id] then redis.call('LSET', active, i - 1, '') end
  end
  redis.call('LREM', active, 0, '')
end

local function end_leases(lease)
  if #left > 0 then redis.call('ZREM', lease, unpack(left)) end
end

-- `oldest`: at least as many of the ids at the right end of `active`, if the script has read them.
local function end_runs(active, lease, oldest)
  remove_active(active, oldest)
  end_leases(lease)
end

-- Delete the records of the calls that took these tasks: a caller that settles one has received the reply.
local function forget_takes()
  if #left > 0 then redis.call('DEL', unpack(KEYS, keys_taken + 1)) end
end
