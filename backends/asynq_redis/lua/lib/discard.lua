-- Delete tasks with everything that belongs to them. They are looked up before the first write.
local function doomed(prefix, ids)
  local tasks = {}
  for i, id in ipairs(ids) do
    local hash = task_key(prefix, id)
    local lock = try('HGET', hash, 'unique_key')
    if lock and try('GET', lock) ~= id then lock = nil end
    tasks[i] = { id = id, hash = hash, lock = lock }
  end
  return tasks
end

local function discard(collection, tasks)
  for _, task in ipairs(tasks) do
    redis.call('DEL', task.hash)
    if task.lock then redis.call('DEL', task.lock) end
    redis.call('ZREM', collection, task.id)
  end
end

-- Ids of the oldest archived tasks that exceed the bounds of the archive once `coming` more are added.
local function surplus(archived, us, max_size, max_age, coming, limit)
  local excess = redis.call('ZCARD', archived) + coming - max_size
  local horizon = (us - max_age * 1000) / 1000000
  local oldest = redis.call('ZRANGE', archived, 0, limit - 1, 'WITHSCORES')
  local ids = {}
  for i = 1, #oldest, 2 do
    if #ids >= excess and tonumber(oldest[i + 1]) > horizon then break end
    ids[#ids + 1] = oldest[i]
  end
  return ids
end
