-- The fence: a run owns its task as long as the task is active with the run's token and the score of its
-- lease is a fraction. A Go peer that takes or touches the lease writes a whole number.
local function fractional(score)
  return score and tonumber(score) % 1 ~= 0
end

-- The score of the lease, for the run that owns its task; else nothing.
local function owned(state, found, lease, id, token)
  if state ~= 'active' or found ~= token then return nil end
  local score = redis.call('ZSCORE', lease, id)
  return fractional(score) and score
end

-- End runs: an id leaves `active`, where the longest running are at the right end, and then, all ids at
-- once, the leases.
local left = {}

local function leave(active, id)
  redis.call('LREM', active, -1, id)
  left[#left + 1] = id
end

local function end_leases(lease)
  if #left > 0 then redis.call('ZREM', lease, unpack(left)) end
end

-- Forget the calls that took these tasks: whoever settles one has had the reply.
local function forget_takes()
  if #left > 0 then redis.call('DEL', unpack(KEYS, keys_taken + 1)) end
end
