-- Let a record be found in its index, and prune those that ended long ago.
-- flags: allow-oom
-- KEYS: index neighbour
-- ARGV: ends pruned member
--   ends: Unix seconds at which the record ends. pruned: Unix seconds; who ended by then is removed.
-- answers: nothing
-- @include arguments

local index = key()
local ends, pruned, member = arg(), arg(), arg()
redis.call('ZADD', index, ends, member)
redis.call('ZREMRANGEBYSCORE', index, '-inf', pruned)
