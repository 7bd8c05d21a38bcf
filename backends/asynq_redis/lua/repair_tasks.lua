-- Move tasks that their queue does not list to their state, each only if it is unchanged.
-- flags: allow-oom
-- KEYS: pending active lease scheduled retry archived completed groups sets
-- ARGV: now prefix grace | id msg state to at
--   grace: milliseconds until the lease of an active task expires. msg: as found, empty for none. to: a state,
--   or empty to delete the task. at: second at which the retention of a completed task ends.
-- answers: nothing
-- @include arguments types time keys places delete

local places = places_of_keys()
if places.refusal then return redis.error_reply(places.refusal) end
local now, prefix, grace = microseconds(arg()), arg(), tonumber(arg())

local items = {}
while more() do
  local item = { id = arg(), msg = arg(), state = arg(), to = arg(), at = arg() }
  item.hash = task_key(prefix, item.id)
  local task = try('HMGET', item.hash, 'msg', 'state', 'pending_since', 'group') or {}
  item.group = task[4] or ''
  item.doomed = doomed_task(item.hash, item.id)
  local same = (task[1] or '') == item.msg and (task[2] or '') == item.state
  item.mine = same and not (task[1] and listed(places, prefix, item.id, task[2], task[4], task[3]))
  items[#items + 1] = item
end

local put = {
  [''] = function(item) delete_task(item.doomed) end,
  pending = function(item)
    redis.call('LPUSH', places.pending, item.id)
    redis.call('HSET', item.hash, 'pending_since', nanoseconds(now))
  end,
  active = function(item)
    redis.call('LPUSH', places.active, item.id)
    redis.call('ZADD', places.lease, as_score(lapse(now, grace)), item.id)
    redis.call('HDEL', item.hash, 'lease_token')
  end,
  archived = function(item)
    redis.call('ZADD', places.archived, whole(seconds_up(now)), item.id)
  end,
  completed = function(item)
    redis.call('ZADD', places.completed, item.at, item.id)
  end,
  aggregating = function(item)
    redis.call('ZADD', group_key(prefix, item.group), whole(seconds_up(now)), item.id)
    redis.call('SADD', places.groups, item.group)
  end,
}
for _, item in ipairs(items) do
  if item.mine then
    if item.to ~= '' then redis.call('HSET', item.hash, 'state', item.to) end
    put[item.to](item)
  end
end
