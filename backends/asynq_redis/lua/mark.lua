-- Write something, so that a WAIT behind it waits for all that the connection has seen done before.
-- flags: allow-oom
-- KEYS: mark pending
-- ARGV: milliseconds
-- answers: nothing
-- @include arguments

local mark = key()
redis.call('SET', mark, '', 'PX', arg())
