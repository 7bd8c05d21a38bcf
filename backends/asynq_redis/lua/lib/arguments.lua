-- Iterators over the keys and arguments of the call.
local keys_taken, args_taken = 0, 0

local function key()
  keys_taken = keys_taken + 1
  return KEYS[keys_taken]
end

local function arg()
  args_taken = args_taken + 1
  return ARGV[args_taken]
end

local function more()
  return args_taken < #ARGV
end
