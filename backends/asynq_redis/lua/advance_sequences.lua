-- Make the next task of each sequence pending whose head is gone or finished, for a page of the sequences.
-- flags: allow-oom
-- KEYS: names pending scheduled
-- ARGV: now prefix cursor limit
--   cursor: the name of the last sequence examined, empty for none.
-- answers: {number of tasks made pending, number of sequences examined, cursor or empty at the end}
-- @include arguments types time keys sequence

local names = key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return { 0, 0, '' } end
local refusal = misplaced(names, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, cursor, limit = microseconds(arg()), arg(), arg(), tonumber(arg())

local after = cursor == '' and '-' or '(' .. cursor
local page = redis.call('ZRANGEBYLEX', names, after, '+', 'LIMIT', 0, limit)
for _, name in ipairs(page) do sequence_at(prefix, name) end
local promoted = 0
for _, name in ipairs(page) do
  if advance(sequence_at(prefix, name), now) then promoted = promoted + 1 end
end
return { promoted, #page, #page == limit and page[#page] or '' }
