-- Add queues to the list of all queues.
-- flags: allow-oom
-- KEYS: queues neighbour
-- ARGV: | queue
-- answers: number of queues that were not listed before
-- @include arguments

local queues, names = key(), {}
while more() do names[#names + 1] = arg() end
return redis.call('SADD', queues, unpack(names))
