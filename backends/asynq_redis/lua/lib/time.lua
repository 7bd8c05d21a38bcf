-- Time. `now` is in microseconds; numbers become text by format alone, as Lua's own conversion keeps only
-- 14 digits.

-- The instant a script goes by: the one it is given, or the server's own.
local function microseconds(now)
  if now ~= '' then return tonumber(now) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Whole seconds, rounded up: what is due then is never early.
local function seconds_up(us)
  return math.ceil(us / 1000000)
end

local function nanoseconds(us)
  return whole(us) .. '000'
end

local function as_score(ms)
  return string.format('%.0f.%03d', math.floor(ms / 1000), ms % 1000)
end

-- Milliseconds at which a lease made now lapses. Never a whole second: those are Go's.
local function lapse(us, duration)
  local ms = math.floor(us / 1000) + duration
  if ms % 1000 == 0 then return ms + 1 end
  return ms
end

-- The most milliseconds that are told apart. A score may be any number, also infinite.
local FARTHEST = 9007199254740991

local function bounded(ms)
  return math.max(-FARTHEST, math.min(ms, FARTHEST))
end

local function score_ms(score)
  return math.floor(bounded(tonumber(score) * 1000) + 0.5)
end
