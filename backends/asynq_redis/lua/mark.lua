-- Write a key, so that a following WAIT covers all writes that this connection has seen.
-- flags: allow-oom
-- KEYS: mark pending
-- ARGV: milliseconds
-- answers: nothing
-- @include arguments

local mark = key()
redis.call('SET', mark, '', 'PX', arg())
