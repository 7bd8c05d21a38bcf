-- Read the daily counters of runs.
-- flags: no-writes
-- KEYS: processed failed
-- ARGV: now days
-- answers: each {date, processed, failed}, today first
-- @include arguments types time count

local processed, failed, now, days = key(), key(), microseconds(arg()), tonumber(arg())
-- As text: a count may exceed the range of a Lua number.
local function counter(name)
  return string.match(try('GET', name) or '', '^%d+$') or '0'
end
local answers = {}
for day = 0, days - 1 do
  local on = date(now - day * 86400000000)
  answers[#answers + 1] = { on, counter(processed .. ':' .. on), counter(failed .. ':' .. on) }
end
return answers
