-- Whether a queue lists a task in the collection of the task's state.

-- The collections of the states: the next nine keys.
local function places_of_keys()
  local places = {
    pending = key(), active = key(), lease = key(), scheduled = key(), retry = key(), archived = key(),
    completed = key(), groups = key(), sets = key(),
  }
  places.refusal = misplaced(places.pending, 'list') or misplaced(places.active, 'list')
    or misplaced(places.lease, 'zset') or misplaced(places.scheduled, 'zset')
    or misplaced(places.retry, 'zset') or misplaced(places.archived, 'zset')
    or misplaced(places.completed, 'zset') or misplaced(places.groups, 'set') or misplaced(places.sets, 'zset')
  return places
end

-- Searching a long list is slow: a task that is younger than the head of the queue counts as listed.
local function in_pending(places, prefix, id, since)
  local head = redis.call('LINDEX', places.pending, -1)
  if not head then return false end
  -- A value that is not a number was written by another program and is ignored.
  local own, oldest = tonumber(since), tonumber(try('HGET', task_key(prefix, head), 'pending_since'))
  if own and oldest and own > oldest then return true end
  return redis.call('LPOS', places.pending, id, 'RANK', -1)
end

local function in_group(places, prefix, id, group)
  local name = group_key(prefix, group)
  if try('ZSCORE', name, id) then return true end
  for _, set in ipairs(redis.call('ZRANGE', places.sets, 0, 99)) do
    if string.sub(set, 1, #name + 1) == name .. ':' and try('ZSCORE', set, id) then return true end
  end
end

local function listed(places, prefix, id, state, group, since)
  if state == 'pending' then return in_pending(places, prefix, id, since) end
  if state == 'aggregating' then return in_group(places, prefix, id, group or '') end
  if state == 'active' then
    return redis.call('ZSCORE', places.lease, id) or redis.call('LPOS', places.active, id)
  end
  return places[state] and try('ZSCORE', places[state], id)
end
