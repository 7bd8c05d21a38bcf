-- Read one page of the tasks of a queue in one state, the next to run or the oldest first.
-- flags: no-writes
-- KEYS: collection lease
-- ARGV: now prefix kind state offset limit
--   kind: list or zset.
-- answers: each {id, msg, score or empty, pending_since or empty, orphaned (1 or 0), result or nil}
-- @include arguments types time keys

local collection, lease = key(), key()
local now, prefix, kind, state = microseconds(arg()), arg(), arg(), arg()
local offset, limit = tonumber(arg()), tonumber(arg())
local refusal = misplaced(collection, kind) or misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end

-- The ids of the page with their scores.
local page = {}
if kind == 'list' then
  local ids = redis.call('LRANGE', collection, -(offset + limit), -(offset + 1))
  for i = #ids, 1, -1 do
    local score = state == 'active' and redis.call('ZSCORE', lease, ids[i])
    page[#page + 1] = { ids[i], score or '' }
  end
else
  local found = redis.call('ZRANGE', collection, offset, offset + limit - 1, 'WITHSCORES')
  for i = 1, #found, 2 do page[#page + 1] = { found[i], found[i + 1] } end
end

local answers = {}
for _, entry in ipairs(page) do
  local id, score = entry[1], entry[2]
  local task = try('HMGET', task_key(prefix, id), 'msg', 'pending_since', 'result') or {}
  if task[1] then
    local orphaned = state == 'active' and (score == '' or score_ms(score) <= math.floor(now / 1000))
    answers[#answers + 1] = { id, task[1], score, task[2] or '', orphaned and 1 or 0, task[3] }
  end
end
return answers
