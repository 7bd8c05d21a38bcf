-- Give active tasks without a lease one without a token, so that recovery finds them when it expires.
-- flags: allow-oom
-- KEYS: active lease
-- ARGV: now prefix grace cursor limit
--   grace: milliseconds. cursor: ids to skip, the longest running first.
-- answers: {number adopted, number dropped, next cursor or 0}
-- @include arguments types time keys delete

local active, lease = key(), key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return { 0, 0, 0 } end
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, grace = microseconds(arg()), arg(), tonumber(arg())
local cursor, limit = tonumber(arg()), tonumber(arg())

local ids = redis.call('LRANGE', active, -(cursor + limit), -(cursor + 1))
local orphans, gone = {}, {}
for _, id in ipairs(ids) do
  local hash = task_key(prefix, id)
  if not redis.call('ZSCORE', lease, id) then
    local known = try('HEXISTS', hash, 'msg') == 1
    if known then orphans[#orphans + 1] = { id = id, hash = hash } else gone[#gone + 1] = doomed_task(hash, id) end
  end
end
local score = as_score(lapse(now, grace))
for _, task in ipairs(orphans) do
  redis.call('ZADD', lease, score, task.id)
  redis.call('HSET', task.hash, 'state', 'active')
  redis.call('HDEL', task.hash, 'lease_token')
end
for _, task in ipairs(gone) do
  redis.call('LREM', active, -1, task.id)
  delete_task(task)
end
local ended = #ids < limit
return { #orphans, #gone, ended and 0 or cursor + #ids - #gone }
