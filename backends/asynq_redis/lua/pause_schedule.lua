-- Pause a schedule, or end its pause.
-- flags: allow-oom
-- KEYS: schedules neighbour
-- ARGV: name paused
--   paused: 1 or empty.
-- answers: 1, or 0 if there is no schedule of this name
-- @include arguments

local schedules, name, paused = key(), arg(), arg()
if redis.call('HEXISTS', schedules, 's:' .. name) == 0 then return 0 end
if paused == '' then
  redis.call('HDEL', schedules, 'p:' .. name)
else
  redis.call('HSET', schedules, 'p:' .. name, '1')
end
return 1
