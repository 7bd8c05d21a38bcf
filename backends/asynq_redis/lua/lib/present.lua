-- Add a record to its index. A record that is new there prunes the records that expired long ago.
local function present(index, ends, pruned, member)
  if redis.call('ZADD', index, ends, member) == 1 then
    redis.call('ZREMRANGEBYSCORE', index, '-inf', pruned)
  end
end
