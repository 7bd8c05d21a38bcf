-- The new message of a task: `msg`, or, if it starts with a zero byte (as no message does), the stored message
-- with the rest of `msg` appended. In protobuf the last value of a field wins.
local function rewritten(hash, msg)
  if string.byte(msg) ~= 0 then return msg end
  return (redis.call('HGET', hash, 'msg') or '') .. string.sub(msg, 2)
end
