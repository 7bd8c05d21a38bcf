-- The message a task is to have: `msg` itself or, where it begins with a zero byte, as no message does, the
-- stored one with the rest of `msg` behind it. In protobuf, of two values of a field the later one counts.
local function rewritten(hash, msg)
  if string.byte(msg) ~= 0 then return msg end
  return (redis.call('HGET', hash, 'msg') or '') .. string.sub(msg, 2)
end
