-- Dequeue one task per preference order, from the first queue of the order that has one.
-- flags: allow-oom
-- KEYS: | pending active lease paused taken
-- ARGV: now token lease since | prefix limit | order*
--   lease: duration in milliseconds. since: 1 to be told since when the tasks were pending, else empty. limit: maximum active tasks of the queue, empty for no limit. order: numbers of queues, counted from 1, most preferred first.
-- answers: {ids, messages, numbers, odd, since, expiry ms, 1 if ids were dropped else 0, refusals, now ms}
--   numbers: of the queues of the deliveries, if the call asks several. odd: {position, expiry ms, lease losses,
--   cancel} of each delivery of which one of these is unusual. since: pending_since of each delivery, or empty, if asked. refusals: {number, reason} each. Instead of an empty
--   table, nil: each table costs as much as three commands.
-- @include arguments types time keys fence lock delete

-- Maximum ids examined per queue. Ids without a task count, but are not delivered.
local MOST = 100
-- A lease set of few short members is stored as a list, and each step of a search parses a score as text. One
-- long member turns the set into a skip list, which it stays until it is empty.
local LONG_MEMBER = string.rep('-', 65)
-- Number of leases for which this pays.
local MANY_LEASES = 8
-- Bytes of messages after which no further task is taken, so that the reply arrives in time.
local MOST_BYTES = 8 * 1024 * 1024

local now, token, duration, asked = microseconds(arg()), arg(), tonumber(arg()), arg() ~= ''
local fields = { 'msg', 'state', 'lease_losses', 'cancel', 'unique_key', asked and 'pending_since' or nil }
local queues, refusals = {}, {}
for number = 1, #KEYS / 5 do
  local queue = {
    number = number, pending = key(), active = key(), lease = key(), paused = key(), taken = key(),
    prefix = arg(), limit = tonumber(arg()), room = 0, used = 0,
  }
  local waiting, active = try('LLEN', queue.pending), try('LLEN', queue.active)
  queue.refusal = not waiting and misplaced(queue.pending, 'list') or not active and misplaced(queue.active, 'list')
    or not try('ZCARD', queue.lease) and misplaced(queue.lease, 'zset')
  if queue.refusal then
    refusals[#refusals + 1] = { number, queue.refusal }
  elseif waiting > 0 and redis.call('EXISTS', queue.paused) == 0 then
    queue.room = queue.limit and queue.limit - active or math.huge
    queue.listed, queue.picked, queue.gone = {}, {}, {}
    -- Of the tasks picked: ids, keys, what HMGET found, and locks to be touched.
    queue.ids, queue.hashes, queue.found, queue.locks = {}, {}, {}, {}
  end
  queues[number] = queue
end
local orders = args_taken
local wanted = #ARGV - orders

local ids, messages, numbers, odd, since, bytes = {}, {}, {}, {}, {}, 0
local several = queues[2]
local function deliver(queue, id, msg, losses, cancel, expires, pending_since)
  local place = #ids + 1
  ids[place], messages[place] = id, msg
  if several then numbers[place] = queue.number end
  if asked then since[place] = pending_since or '' end
  if losses or cancel or expires then
    odd[#odd + 1] = { place, expires or 0, tonumber(losses) or 0, cancel or '' }
  end
end

-- The tasks that an earlier copy of this call took and still holds.
for _, queue in ipairs(queues) do
  for _, id in ipairs(queue.refusal and {} or redis.call('LRANGE', queue.taken, 0, -1)) do
    local task = try('HMGET', task_key(queue.prefix, id), 'state', 'lease_token', 'msg', 'lease_losses', 'cancel') or {}
    local score = owned(task[1], task[2], queue.lease, id, token)
    if score then
      bytes = bytes + #(task[3] or '')
      deliver(queue, id, task[3], task[4], task[5], score_ms(score))
    end
  end
end

-- The next unused id from the head of the queue; nil at the end.
local function following(queue)
  if queue.used == #queue.listed then
    if queue.used >= MOST or queue.exhausted then return nil end
    local chunk = redis.call('LRANGE', queue.pending, -(queue.used + wanted), -(queue.used + 1))
    queue.exhausted = #chunk < wanted
    for i = #chunk, 1, -1 do queue.listed[#queue.listed + 1] = chunk[i] end
  end
  local id = queue.listed[queue.used + 1]
  if id then queue.used = queue.used + 1 end
  return id
end

-- The lock that is touched when its task is taken, or false.
local function lock_to_touch(hash, name)
  local options = redis.call('HMGET', hash, 'unique_until', 'unique_keep')
  if not (options[2] or options[1] == 'start') then return false end
  try('GET', name)
  return { name = name, ends = options[1], keep = options[2] }
end

-- Pick the next task of a queue. Returns its message; nil if it has none.
local function pick(queue)
  local id = following(queue)
  while id do
    local hash = task_key(queue.prefix, id)
    local found = redis.pcall('HMGET', hash, unpack(fields))
    if found.err then pass_wrong_type(found) end
    local msg = found[1]
    local listed_twice = queue.picked[id] or (found[2] == 'active' and redis.call('ZSCORE', queue.lease, id))
    if msg and not listed_twice then
      local place = #queue.ids + 1
      queue.picked[id] = true
      queue.ids[place], queue.hashes[place], queue.found[place] = id, hash, found
      queue.locks[place] = found[5] and lock_to_touch(hash, found[5])
      return msg
    end
    queue.gone[#queue.gone + 1] = not listed_twice and not found.err and doomed_task(hash, id) or false
    id = following(queue)
  end
end

-- The queues that an order names.
local known = {}
local function choices(order)
  local found = known[order]
  if not found then
    found = {}
    for number in string.gmatch(order, '%d+') do found[#found + 1] = queues[tonumber(number)] end
    known[order] = found
  end
  return found
end

for place = #ids + 1, wanted do
  if bytes >= MOST_BYTES then break end
  for _, queue in ipairs(choices(ARGV[orders + place])) do
    local msg = queue.room > 0 and pick(queue)
    if msg then
      queue.room = queue.room - 1
      bytes = bytes + #msg
      break
    end
  end
end

-- Writes start here.
local expires, dropped = lapse(now, duration), 0

for _, queue in ipairs(queues) do
  if queue.used > 0 then
    redis.call('RPOP', queue.pending, queue.used)
    for _, gone in ipairs(queue.gone) do
      dropped = 1
      if gone then delete_task(gone) end
    end
  end
  if queue.used > 0 and #queue.ids > 0 then
    local leases, score = {}, as_score(expires)
    for i, id in ipairs(queue.ids) do
      local hash, found, lock = queue.hashes[i], queue.found[i], queue.locks[i]
      leases[2 * i - 1], leases[2 * i] = score, id
      redis.call('HSET', hash, 'state', 'active', 'lease_token', token)
      redis.call('HDEL', hash, 'pending_since')
      if lock and lock.ends == 'start' then
        release(lock.name, id)
      elseif lock then
        renew(lock.name, id, lock.ends, lock.keep, duration)
      end
      deliver(queue, id, found[1], found[3], found[4], nil, found[6])
    end
    redis.call('LPUSH', queue.active, unpack(queue.ids))
    if #queue.ids < MANY_LEASES then
      redis.call('ZADD', queue.lease, unpack(leases))
    else
      redis.call('ZADD', queue.lease, '+inf', LONG_MEMBER, unpack(leases))
      redis.call('ZREM', queue.lease, LONG_MEMBER)
    end
    redis.call('RPUSH', queue.taken, unpack(queue.ids))
    redis.call('PEXPIRE', queue.taken, whole(math.max(duration, 60000)))
  end
end
return {
  ids, messages, #numbers > 0 and numbers, #odd > 0 and odd, #since > 0 and since, expires, dropped,
  #refusals > 0 and refusals, math.floor(now / 1000),
}
