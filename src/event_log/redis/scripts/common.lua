-- What other scripts begin with.
--
-- Ids are counted here and not by Redis: the hash `about` says in which epoch the log is (`epoch`) and which
-- number its last entry has (`seq`). So a stream that was deleted, evicted, cut or restored cannot
-- give an id twice, and a script that appends notices it in the same step.

-- How many entries are let go at once, at most, where each has to be looked at: Redis does nothing else
-- meanwhile.
local MOST_TRIMMED = 1000

-- Numbers up to this are exact in Lua, and so are the next few. The epochs that we give are far below: they
-- are times in ms. A larger one was written by somebody else.
local LARGEST_EPOCH = '4503599627370496'

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

-- Whether the one number is less than the other. Both are texts: ids may hold numbers that are not exact
-- in Lua.
local function is_less(one, other)
  if #one ~= #other then
    return #one < #other
  end
  return one < other
end

local STALE = redis.error_reply('STALE the log is in another epoch')

-- The number of the last entry; nil: the log is not in this epoch.
local function last_seq(about, epoch)
  local known = redis.call('HMGET', about, 'epoch', 'seq')
  if known[1] == epoch and known[2] then
    return tonumber(known[2])
  end
end

-- Appends an entry with these fields as the next after this number. Its id; or nil and an error: STALE
-- where the stream is gone, or somebody else wrote to it.
local function append(log, epoch, seq, ...)
  local id = redis.pcall('XADD', log, 'NOMKSTREAM', epoch .. '-' .. text(seq + 1), ...)
  if type(id) == 'string' then
    return id
  end
  local err = id and id.err or ''
  if id and not string.find(err, 'equal or smaller', 1, true) and not string.find(err, 'exhausted', 1, true) then
    return nil, id
  end
  return nil, STALE
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

