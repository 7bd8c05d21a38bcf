-- Pause a schedule, or end its pause: it begins now.
-- flags: allow-oom
-- KEYS: schedules neighbour
-- ARGV: now name paused
--   paused: 1 or empty.
-- answers: 1, or 0 if there is no schedule of this name
-- @include arguments time

local schedules, now, name, paused = key(), microseconds(arg()), arg(), arg()
if redis.call('HEXISTS', schedules, 's:' .. name) == 0 then return 0 end
if paused ~= '' then
  redis.call('HSET', schedules, 'p:' .. name, '1')
elseif redis.call('HDEL', schedules, 'p:' .. name) == 1 then
  redis.call('HSET', schedules, 't:' .. name, whole(math.floor(now / 1000)))
end
return 1
