-- Create parked tasks, one after the other, each independently.
-- KEYS: scheduled transfer | hash lock
-- ARGV: prefix claim | id msg identity token ttl until keep sequence group losses cancel arrived result
--   lock: the hash again if the task holds none. identity: the
--   enqueue_id of a task that an image of this content created. token: see lua/lib/parked.lua. ttl: milliseconds.
--   arrived: numbers, each after a space. result: 1 and the result, or
--   empty.
-- answers: -9 if the claim is not held; or each {1} if it was created | {0} if it is there | {-1, state of the task that has the id}
--   | {-2, holder of the lock} | {-3, why a key is refused}
-- @include arguments types time keys sequence lock parked

local scheduled = key()
local refusal = misplaced(scheduled, 'zset')
if refusal then return redis.error_reply(refusal) end
local claim, prefix = key(), arg()
if not claimed(claim, arg()) then return -9 end

local items = {}
while more() do
  local item = {
    hash = key(), lock = key(), id = arg(), msg = arg(), identity = arg(), token = arg(), ttl = arg(), ends = arg(),
    keep = arg(), sequence = arg(), group = arg(), losses = arg(), cancel = arg(), arrived = arg(), result = arg(),
  }
  if item.sequence ~= '' and not ended(place_before('scheduled', item.token)) then
    item.places = sequence_at(prefix, item.sequence)
  end
  items[#items + 1] = item
end

-- Why the task is not created, or nil.
local function refused(item)
  if redis.call('EXISTS', item.hash) == 1 then
    local found = try('HMGET', item.hash, 'enqueue_id', 'state')
    if not found then return { -3, misplaced(item.hash, 'hash') } end
    if found[1] == item.identity then return { 0 } end
    return { -1, found[2] or '' }
  end
  if item.places and item.places.refusal then return { -3, item.places.refusal } end
  if item.lock ~= item.hash then
    local holder = try('GET', item.lock)
    if holder == nil then return { -3, misplaced(item.lock, 'string') } end
    if holder and holder ~= item.id and holder ~= 'expiry:' .. item.id then return { -2, holder } end
  end
end

local function create(item)
  local fields = { 'msg', item.msg, 'state', 'scheduled', 'enqueue_id', item.identity, 'lease_token', item.token }
  local function field(name, value, none)
    if value ~= none then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  field('group', item.group, '')
  field('sequence', item.sequence, '')
  field('lease_losses', item.losses, '0')
  field('cancel', item.cancel, '')
  if item.lock ~= item.hash then
    redis.call('SET', item.lock, lock_holder(item.id, item.ends), 'PX', item.ttl)
    field('unique_key', item.lock)
    field('unique_until', item.ends, 'done')
    field('unique_keep', item.keep, '0')
  end
  local members = 0
  for member in string.gmatch(item.arrived, '%d+') do
    members = members + 1
    field('member:' .. member, '1')
  end
  if members > 0 then field('arrived', whole(members)) end
  if item.result ~= '' then field('result', string.sub(item.result, 2)) end
  redis.call('HSET', item.hash, unpack(fields))
  redis.call('ZADD', scheduled, whole(PARKED), item.id)
  if item.places then add_place(item.places, item.id) end
end

local answers = {}
for i, item in ipairs(items) do
  answers[i] = refused(item)
  if not answers[i] then
    create(item)
    answers[i] = { 1 }
  end
end
return answers
