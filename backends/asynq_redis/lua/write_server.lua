-- Publish a server and its workers. Many workers take several calls and become visible with the last one.
-- flags: allow-oom
-- KEYS: server workers draft | | index*
--   index: of the servers and of the workers; none on a cluster, where they are in other slots.
-- ARGV: record ttl ends pruned first last | field record
--   record: of the server. ttl: seconds. ends, pruned: see `present`. first, last: 1 or empty, whether this is
--   the first or last call.
-- answers: nothing
-- @include arguments present

local server, workers, draft = key(), key(), key()
local servers_index, workers_index = key(), key()
local record, ttl, ends, pruned, first, last = arg(), arg(), arg(), arg(), arg(), arg()
local some = more()
if some and first ~= '' then redis.call('DEL', draft) end
while more() do redis.call('HSET', draft, arg(), arg()) end
if some then redis.call('EXPIRE', draft, ttl) end
if last ~= '' then
  redis.call('SET', server, record, 'EX', ttl)
  redis.call('DEL', workers)
  if some then redis.call('RENAME', draft, workers) end
  if servers_index then
    present(servers_index, ends, pruned, server)
    present(workers_index, ends, pruned, workers)
  end
end
