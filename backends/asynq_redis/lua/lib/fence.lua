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

-- End runs: remove each id from `active`, where the longest running ones are on the right, and then all
-- leases at once.
local left = {}

local function leave(active, id)
  redis.call('LREM', active, -1, id)
  left[#left + 1] = id
end

local function end_leases(lease)
  if #left > 0 then redis.call('ZREM', lease, unpack(left)) end
end

-- Delete the records of the calls that took these tasks: a caller that settles one has received the reply.
local function forget_takes()
  if #left > 0 then redis.call('DEL', unpack(KEYS, keys_taken + 1)) end
end
