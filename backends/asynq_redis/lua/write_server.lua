-- Publish a server and its workers. Many workers take several calls and become visible with the last one.
-- flags: allow-oom
-- KEYS: server workers draft
-- ARGV: record ttl first last | field record
--   record: of the server. ttl: seconds. first, last: 1 or empty, whether this is the first or last call.
-- answers: nothing
-- @include arguments

local server, workers, draft = key(), key(), key()
local record, ttl, first, last = arg(), arg(), arg(), arg()
if first ~= '' then redis.call('DEL', draft) end
local some = more()
while more() do redis.call('HSET', draft, arg(), arg()) end
if some then redis.call('EXPIRE', draft, ttl) end
if last ~= '' then
  redis.call('SET', server, record, 'EX', ttl)
  redis.call('DEL', workers)
  if some then redis.call('RENAME', draft, workers) end
end
