-- Read one page of the groups of a queue, with their sizes and ages.
-- flags: no-writes
-- KEYS: groups pending
-- ARGV: now prefix cursor
-- answers: {cursor, {name, size, ms since the oldest was added, ms since the newest was}*}
-- @include arguments types time keys

local groups = key()
local refusal = misplaced(groups, 'set')
if refusal then return redis.error_reply(refusal) end
local now, prefix, cursor = microseconds(arg()), arg(), arg()
local page = redis.call('SSCAN', groups, cursor, 'COUNT', 50)
local answers = { page[1] }
for _, name in ipairs(page[2]) do
  local group = group_key(prefix, name)
  local size = try('ZCARD', group) or 0
  if size > 0 then
    local ages = {}
    for i, rank in ipairs({ 0, -1 }) do
      local score = redis.call('ZRANGE', group, rank, rank, 'WITHSCORES')[2]
      ages[i] = math.max(math.floor(now / 1000) - score_ms(score), 0)
    end
    answers[#answers + 1] = { name, size, ages[1], ages[2] }
  end
end
return answers
