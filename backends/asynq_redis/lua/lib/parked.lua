-- Parked tasks: scheduled for PARKED, and their lease token is the place that they had: "parked", the state, the
-- score or "-", and since when the task is pending, in nanoseconds, or "-".

-- The state, score and time of a parked task before; nil of any other task.
local function place_before(state, token)
  if state ~= 'scheduled' then return nil end
  return string.match(token or '', '^parked (%a+) (%S+) (%S+)$')
end

local function ended(state)
  return state == 'archived' or state == 'completed'
end
