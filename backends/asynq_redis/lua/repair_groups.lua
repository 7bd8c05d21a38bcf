-- List groups that have tasks but are not listed, among some of the server's keys.
-- flags: allow-oom
-- KEYS: groups sets
-- ARGV: prefix cursor
-- answers: {cursor, number of groups listed}
-- @include arguments types keys

local groups, sets = key(), key()
local refusal = misplaced(groups, 'set') or misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local front, cursor = group_key(arg(), ''), arg()
local pattern = string.gsub(front, '[%*%?%[%]\\]', '\\%0') .. '*'
local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'TYPE', 'zset', 'COUNT', 500)
local listed = 0
for _, found in ipairs(page[2]) do
  if not redis.call('ZSCORE', sets, found) then
    listed = listed + redis.call('SADD', groups, string.sub(found, #front + 1))
  end
end
return { page[1], listed }
