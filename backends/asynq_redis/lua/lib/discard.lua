-- Delete the tasks of a collection.
local function doomed(prefix, ids)
  local tasks = {}
  for i, id in ipairs(ids) do tasks[i] = doomed_task(task_key(prefix, id), id) end
  return tasks
end

local function discard(collection, tasks)
  for _, task in ipairs(tasks) do
    delete_task(task)
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
