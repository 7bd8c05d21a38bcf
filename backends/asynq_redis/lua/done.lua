-- Delete finished tasks, release their locks, and count them as processed.
-- flags: allow-oom
-- KEYS: active lease processed failed | hash lock | taken*
-- ARGV: now | id token
--   lock: the hash again if the task has none.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time fence lock count

local active, lease, processed, failed = key(), key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end
local statistics = counters(processed, failed, microseconds(arg()))

local items, ids = {}, {}
while more() do
  local item = { hash = key(), lock = key(), id = arg(), token = arg() }
  items[#items + 1], ids[#ids + 1] = item, item.id
end
local scores = redis.call('ZMSCORE', lease, unpack(ids))

local answers, hashes, ended = {}, {}, {}
for i, item in ipairs(items) do
  local task = try('HMGET', item.hash, 'state', 'lease_token') or {}
  local ours = task[1] == 'active' and task[2] == item.token and fractional(scores[i])
  if ours and not ended[item.id] then
    leave(item.id)
    if item.lock ~= item.hash then release(item.lock, item.id) end
    hashes[#hashes + 1], ended[item.id] = item.hash, true
    answers[i] = 1
  else
    answers[i] = 0
  end
end
if #hashes > 0 then redis.call('DEL', unpack(hashes)) end
end_runs(active, lease)
forget_takes()
count(statistics, #hashes, 0)
return answers
