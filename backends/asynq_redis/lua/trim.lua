-- Delete the oldest archived tasks that exceed the maximum size or age of the archive.
-- flags: allow-oom
-- KEYS: archived completed
-- ARGV: now prefix max_size max_age limit
--   max_age: milliseconds.
-- answers: number deleted
-- @include arguments types time keys delete discard

local archived = key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return 0 end
local refusal = misplaced(archived, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, max_size, max_age, limit = microseconds(arg()), arg(), tonumber(arg()), tonumber(arg()), tonumber(arg())
local tasks = doomed(prefix, surplus(archived, now, max_size, max_age, 0, limit))
discard(archived, tasks)
return #tasks
