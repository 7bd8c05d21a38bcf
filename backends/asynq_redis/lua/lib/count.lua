-- Statistics, in the same keys as Go asynq. A damaged counter never blocks a task.
local STATISTICS_TTL = 90 * 86400
local INT64_MAX = 9223372036854775807

-- The UTC date of an instant, as YYYY-MM-DD.
local function date(us)
  local days = math.floor(us / 86400000000) + 719468
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day + 2) / 153)
  day = day - math.floor((153 * month + 2) / 5) + 1
  year = year + era * 400
  if month < 10 then month = month + 3 else month, year = month - 9, year + 1 end
  return string.format('%04d-%02d-%02d', year, month, day)
end

-- The counters of today. It accesses their keys, so it must be called before the first write.
local function counters(processed, failed, us)
  local today = ':' .. date(us)
  local all = {
    processed = processed, failed = failed,
    processed_today = processed .. today, failed_today = failed .. today,
  }
  redis.call('EXISTS', all.processed_today, all.failed_today)
  return all
end

local function count_today(counter, runs)
  if redis.pcall('INCRBY', counter, runs) == runs then redis.call('EXPIRE', counter, STATISTICS_TTL) end
end

-- Count finished runs. The totals restart when the total of processed runs reaches the greatest integer.
local function count(all, runs, failures)
  if runs == 0 then return end
  count_today(all.processed_today, runs)
  if failures > 0 then count_today(all.failed_today, failures) end
  if tonumber(try('GET', all.processed) or 0) == INT64_MAX then
    redis.call('SET', all.processed, runs)
    if failures > 0 then redis.call('SET', all.failed, failures) end
  else
    redis.pcall('INCRBY', all.processed, runs)
    if failures > 0 then redis.pcall('INCRBY', all.failed, failures) end
  end
end
