-- Keys that hold what somebody else put there. A command is refused by its type as WRONGTYPE; met after
-- the first write this would leave a task half moved, so scripts look before they write.

-- The sentence of refusal when a key holds something else than it should; nil when all is well.
local function misplaced(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found == 'none' or found == wanted then return nil end
  local name = string.gsub(key, '%c', '?')
  return 'WRONGTYPE ' .. name .. ' holds a ' .. found .. ' where a ' .. wanted .. ' belongs'
end

-- The reply of a command, nil where its key holds another type. Any other error ends the script.
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'WRONGTYPE', 1, true) then return nil end
    error(reply.err)
  end
  return reply
end
