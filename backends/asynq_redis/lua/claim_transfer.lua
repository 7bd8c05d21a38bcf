-- Take, extend or end the claim of a queue, for a transfer of its tasks.
-- flags: allow-oom
-- KEYS: transfer neighbour
-- ARGV: now holder hold renew
--   hold: duration in milliseconds, 0 to end the claim. renew: 1 or empty.
-- answers: 1 if the holder has the claim, or had it when it ended, else 0
-- @include arguments types time

local transfer = key()
local refusal = misplaced(transfer, 'hash')
if refusal then return redis.error_reply(refusal) end
local now, holder, hold, renew = math.floor(microseconds(arg()) / 1000), arg(), tonumber(arg()), arg() ~= ''

local found = redis.call('HMGET', transfer, 'holder', 'until')
if found[1] ~= holder then
  if renew or hold == 0 or found[1] and tonumber(found[2]) > now then return 0 end
end
if hold == 0 then
  redis.call('DEL', transfer)
else
  redis.call('HSET', transfer, 'holder', holder, 'until', whole(now + hold))
  redis.call('PEXPIRE', transfer, whole(hold + 3600000))
end
return 1
