-- Parked tasks: scheduled for PARKED, and their lease token is the place that they had: "parked", the state, the
-- score or "-", since when the task is pending, in nanoseconds, or "-", and the transfer that parked it.

-- The state, score and time of a parked task before, and the transfer that parked it; nil of any other task.
local function place_before(state, token)
  if state ~= 'scheduled' then return nil end
  return string.match(token or '', '^parked (%a+) (%S+) (%S+) ?(%S*)$')
end

-- Whether the claim of the queue is held, or none is asked for.
local function claimed(claim, holder)
  return holder == '' or try('HGET', claim, 'holder') == holder
end

local function ended(state)
  return state == 'archived' or state == 'completed'
end
