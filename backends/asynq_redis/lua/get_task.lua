-- Read one task.
-- flags: no-writes
-- KEYS: hash lease scheduled retry archived completed
-- ARGV: now id
-- answers: {msg, state, score or empty, result or nil, pending_since or empty}, or nil if there is no task
-- @include arguments types time

local hash = key()
local scores = { active = key(), scheduled = key(), retry = key(), archived = key(), completed = key() }
local now, id = microseconds(arg()), arg()
local task = try('HMGET', hash, 'msg', 'state', 'pending_since', 'result')
if not task or not task[1] then return false end
local collection = scores[task[2]]
local score = collection and try('ZSCORE', collection, id) or ''
local orphaned = task[2] == 'active' and (score == '' or score_ms(score) <= math.floor(now / 1000))
return { task[1], task[2] or '', score, task[3] or '', orphaned and 1 or 0, task[4] }
