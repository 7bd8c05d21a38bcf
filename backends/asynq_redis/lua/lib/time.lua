-- Time. `now` is in microseconds. Numbers are converted to text with format, because Lua's own conversion
-- keeps only 14 digits.

-- The current time of a script: the given instant, or the server's time.
local function microseconds(now)
  if now ~= '' then return tonumber(now) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Whole seconds, rounded up, so that nothing is due early.
local function seconds_up(us)
  return math.ceil(us / 1000000)
end

local function nanoseconds(us)
  return whole(us) .. '000'
end

local function as_score(ms)
  return string.format('%.0f.%03d', math.floor(ms / 1000), ms % 1000)
end

-- Expiry in milliseconds of a lease created now. Never a whole second: these mark the leases of Go.
local function lapse(us, duration)
  local ms = math.floor(us / 1000) + duration
  if ms % 1000 == 0 then return ms + 1 end
  return ms
end

-- Maximum milliseconds that can be distinguished. A score may be any number, or infinite.
local FARTHEST = 9007199254740991

local function bounded(ms)
  return math.max(-FARTHEST, math.min(ms, FARTHEST))
end

local function score_ms(score)
  return math.floor(bounded(tonumber(score) * 1000) + 0.5)
end
