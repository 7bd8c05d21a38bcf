-- Keep a schedule. If it differs from the one that is kept, it begins now.
-- KEYS: schedules neighbour
-- ARGV: now name record
-- answers: nothing
-- @include arguments time

local schedules, now, name, record = key(), microseconds(arg()), arg(), arg()
if redis.call('HGET', schedules, 's:' .. name) ~= record then
  redis.call('HSET', schedules, 's:' .. name, record, 't:' .. name, whole(math.floor(now / 1000)))
end
