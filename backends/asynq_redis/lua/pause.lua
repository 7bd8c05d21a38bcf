-- Pause a queue: no tasks can be dequeued from it.
-- flags: allow-oom
-- KEYS: paused pending
-- ARGV: now
-- answers: 1 if it was not paused before, else 0
-- @include arguments time

return redis.call('SETNX', key(), whole(math.floor(microseconds(arg()) / 1000000)))
