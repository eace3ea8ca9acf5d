-- What other scripts begin with. Lets the oldest entries go, and with them the given ids that mean them.
local function forget(log, ids, entries)
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
  local beyond = math.min(length - keep, 1000)
  if beyond >= 100 then
    forget(log, ids, redis.call('XRANGE', log, '-', '+', 'COUNT', beyond))
    redis.call('XTRIM', log, 'MAXLEN', length - beyond)
  end
end

