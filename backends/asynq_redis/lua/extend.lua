-- Extend leases. A lease is never shortened.
-- flags: allow-oom
-- KEYS: lease | hash
-- ARGV: now | id token duration
--   duration: milliseconds from now.
-- answers: each {expiry ms, cancel}, or 0 if the lease is lost
-- @include arguments types time fence lock

local lease = key()
local refusal = misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())

local items = {}
while more() do
  local hash = key()
  local item = { id = arg(), token = arg(), duration = tonumber(arg()) }
  local task = try('HMGET', hash, 'state', 'lease_token', 'cancel', 'unique_key', 'unique_until', 'unique_keep') or {}
  item.score = owned(task[1], task[2], lease, item.id, item.token)
  item.cancel, item.ends, item.keep = task[3] or '', task[5], task[6]
  if task[4] and item.keep and item.ends ~= 'start' then
    item.lock = task[4]
    try('GET', item.lock)
  end
  items[#items + 1] = item
end

local answers, latest = {}, {}
for i, item in ipairs(items) do
  answers[i] = 0
  if item.score then
    local expires = math.max(lapse(now, item.duration), latest[item.id] or score_ms(item.score))
    latest[item.id] = expires
    redis.call('ZADD', lease, as_score(expires), item.id)
    if item.lock then renew(item.lock, item.id, item.ends, item.keep, item.duration) end
    answers[i] = { expires, item.cancel }
  end
end
return answers
