-- List groups of some queues that have tasks but are not listed, among some of the server's keys.
-- flags: allow-oom
-- KEYS: | groups sets
-- ARGV: cursor | prefix
-- answers: {cursor, {number of groups listed, or the reason of a refusal}*}
-- @include arguments types keys

local cursor = arg()
local queues, answers = {}, {}
while more() do
  local queue = { place = #answers + 1, groups = key(), sets = key() }
  local front = group_key(arg(), '')
  local refusal = misplaced(queue.groups, 'set') or misplaced(queue.sets, 'zset')
  answers[queue.place] = refusal or 0
  if not refusal then queues[front] = queue end
end

-- The name of a queue may contain what follows the name in a key.
local AFTER_NAME = '}:g:'
local page = redis.call('SCAN', cursor, 'MATCH', 'asynq:{*' .. AFTER_NAME .. '*', 'TYPE', 'zset', 'COUNT', 500)
for _, found in ipairs(page[2]) do
  local _, stop = string.find(found, AFTER_NAME, 1, true)
  while stop do
    local queue = queues[string.sub(found, 1, stop)]
    if queue and not redis.call('ZSCORE', queue.sets, found) then
      answers[queue.place] = answers[queue.place] + redis.call('SADD', queue.groups, string.sub(found, stop + 1))
    end
    _, stop = string.find(found, AFTER_NAME, stop + 1, true)
  end
end
return { page[1], answers }
