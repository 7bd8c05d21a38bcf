-- Keys with a value of another program. A command fails on them with WRONGTYPE. After the first write this
-- would leave a task partly moved, so scripts check the types before they write.

-- The error text if a key has the wrong type, else nil.
local function misplaced(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found == 'none' or found == wanted then return nil end
  local name = string.gsub(key, '%c', '?')
  return 'WRONGTYPE ' .. name .. ' holds a ' .. found .. ' where a ' .. wanted .. ' belongs'
end

-- Ends the script for an error reply, unless the reason is that the key has another type. Scripts that read many
-- tasks check the replies themselves, which spares them a call of `try` for each.
local function pass_wrong_type(reply)
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then error(reply.err) end
end

-- The reply of a command, or nil if its key has another type. Any other error ends the script.
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    pass_wrong_type(reply)
    return nil
  end
  return reply
end
