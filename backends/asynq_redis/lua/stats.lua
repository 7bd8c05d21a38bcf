-- Read the statistics of a queue, except those of its groups.
-- flags: no-writes
-- KEYS: pending active scheduled retry archived completed groups paused processed failed
-- ARGV: now prefix
-- answers: {pending, active, scheduled, retry, archived, completed, paused, processed today,
--   failed today, processed, failed, latency ms}
-- @include arguments types time keys count

local pending, active, scheduled, retry, archived = key(), key(), key(), key(), key()
local completed, groups, paused, processed, failed = key(), key(), key(), key(), key()
local refusal = misplaced(pending, 'list') or misplaced(active, 'list') or misplaced(scheduled, 'zset')
  or misplaced(retry, 'zset') or misplaced(archived, 'zset') or misplaced(completed, 'zset')
  or misplaced(groups, 'set')
if refusal then return redis.error_reply(refusal) end
local now, prefix = microseconds(arg()), arg()
local statistics = counters(processed, failed, now)

local latency, oldest = 0, redis.call('LINDEX', pending, -1)
if oldest then
  -- Milliseconds by cutting the text: a Lua number cannot represent the nanoseconds exactly.
  local since = tonumber(string.sub(try('HGET', task_key(prefix, oldest), 'pending_since') or '', 1, -7))
  if since then latency = math.max(0, bounded(math.floor(now / 1000) - since)) end
end
-- As text: a total may exceed the range of a Lua number.
local function counter(name)
  return string.match(try('GET', statistics[name]) or '', '^%d+$') or '0'
end
return {
  redis.call('LLEN', pending), redis.call('LLEN', active), redis.call('ZCARD', scheduled),
  redis.call('ZCARD', retry), redis.call('ZCARD', archived), redis.call('ZCARD', completed),
  redis.call('EXISTS', paused), counter('processed_today'),
  counter('failed_today'), counter('processed'), counter('failed'), latency,
}
