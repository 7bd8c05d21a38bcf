-- Delete tasks with the locks that they own. Tasks are looked up before the first write.

-- The unique_key of a message, which is protobuf. Of a damaged message, any text or nil.
local function unique_key_of(msg)
  local widths = { [1] = 8, [5] = 4 }
  local at, name = 1, nil
  local function varint()
    local byte = string.byte(msg, at) or 0
    local value, scale = byte % 128, 128
    while byte >= 128 do
      at = at + 1
      byte = string.byte(msg, at) or 0
      value, scale = value + byte % 128 * scale, scale * 128
    end
    at = at + 1
    return value
  end
  while at <= #msg do
    local tag = varint()
    local kind = tag % 8
    local size = widths[kind] or varint()
    if kind == 0 then size = 0 end
    -- Field 10, with a length.
    if tag == 82 then name = string.sub(msg, at, at + size - 1) end
    at = at + size
  end
  return name
end

-- The lock of a task from the fields of its hash, or nil. Go writes no unique_key for a unique task that it adds
-- to a group. Such a task has a group and no enqueue_id, and its lock is found in its message alone.
local function lock_of(hash, id, unique_key, group, enqueue_id)
  if unique_key or enqueue_id or not group then return unique_key end
  local name = unique_key_of(redis.call('HGET', hash, 'msg') or '')
  local prefix = string.sub(hash, 1, -#id - 3)
  return name and string.sub(name, 1, #prefix) == prefix and name
end

local function doomed_task(hash, id)
  local found = try('HMGET', hash, 'unique_key', 'group', 'enqueue_id') or {}
  local lock = lock_of(hash, id, found[1], found[2], found[3])
  if lock and try('GET', lock) ~= id then lock = nil end
  return { id = id, hash = hash, lock = lock }
end

local function delete_task(task)
  redis.call('DEL', task.hash)
  if task.lock then redis.call('DEL', task.lock) end
end
