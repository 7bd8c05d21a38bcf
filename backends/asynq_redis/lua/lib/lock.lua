-- Uniqueness locks. A lock that its task may release holds the task's id. A lock that only expires holds
-- "expiry:" and the id, so that no client, including Go, releases it as the task's own.
local function lock_holder(id, ends)
  if ends == 'expiry' then return 'expiry:' .. id end
  return id
end

local function release(lock, id)
  if try('GET', lock) == id then redis.call('DEL', lock) end
end

-- Extend a renewable lock to `ttl` after the task's next step, which is `wait` from now (both in ms).
local function renew(lock, id, ends, ttl, wait)
  local holder, found = lock_holder(id, ends), try('GET', lock)
  local lasting = wait + tonumber(ttl)
  if found == false or (found == holder and redis.call('PTTL', lock) < lasting) then
    redis.call('SET', lock, holder, 'PX', whole(lasting))
  end
end
