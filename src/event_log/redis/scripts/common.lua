-- What other scripts begin with.

-- How many entries are let go at once, at most, where each has to be looked at: Redis does nothing else
-- meanwhile.
local MOST_TRIMMED = 1000

local function text(number)
  return string.format('%.0f', number)
end

-- Redis' time in us since 1970.
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function millis(us)
  return math.floor(us / 1000)
end

-- What to answer to one that thinks that the log is in another epoch than it is; nil: it is in that.
local function stale(about, epoch)
  if redis.call('HGET', about, 'epoch') ~= epoch then
    return redis.error_reply('STALE the log is in another epoch')
  end
end

-- Lets given ids go that mean these entries.
local function forget(ids, entries)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'g' and redis.call('HGET', ids, fields[i + 1]) == entry[1] then
        redis.call('HDEL', ids, fields[i + 1])
      end
    end
  end
end

-- Keeps so many entries, and up to a hundred more; not all that is too much goes at once.
local function trim_to(log, ids, keep)
  if redis.call('EXISTS', ids) == 0 then
    redis.call('XTRIM', log, 'MAXLEN', '~', keep)
    return
  end
  local length = redis.call('XLEN', log)
  local beyond = math.min(length - keep, MOST_TRIMMED)
  if beyond >= 100 then
    forget(ids, redis.call('XRANGE', log, '-', '+', 'COUNT', beyond))
    redis.call('XTRIM', log, 'MAXLEN', length - beyond)
  end
end

