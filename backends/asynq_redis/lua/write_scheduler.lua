-- Publish the entries of a scheduler. Many entries take several calls and become visible with the last one.
-- flags: allow-oom
-- KEYS: entries draft
-- ARGV: ttl first last | record
--   ttl: seconds. first, last: 1 or empty, whether this is the first or last call. Records are in reverse order, as in Go.
-- answers: nothing
-- @include arguments

local entries, draft = key(), key()
local ttl, first, last = arg(), arg(), arg()
if first ~= '' then redis.call('DEL', draft) end
local some = more()
while more() do redis.call('LPUSH', draft, arg()) end
if some then redis.call('EXPIRE', draft, ttl) end
if last ~= '' then
  redis.call('DEL', entries)
  if some then redis.call('RENAME', draft, entries) end
end
