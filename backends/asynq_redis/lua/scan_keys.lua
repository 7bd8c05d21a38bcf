-- Scan the names of some keys of a queue.
-- flags: no-writes
-- KEYS: pending active
-- ARGV: prefix cursor
-- answers: {cursor, {name*}}
-- @include arguments

local pattern = string.gsub(arg(), '[%*%?%[%]\\]', '\\%0') .. '*'
return redis.call('SCAN', arg(), 'MATCH', pattern, 'COUNT', 500)
