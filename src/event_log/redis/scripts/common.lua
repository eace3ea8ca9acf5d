-- What other scripts begin with.
--
-- Ids are counted here and not by Redis: the hash `about` says in which epoch the log is (`epoch`) and which
-- number its last entry has (`seq`). So a stream that was deleted, evicted, cut or restored cannot
-- give an id twice, and a script that appends notices it in the same step.
--
-- Presence events, which tell of active subscriptions, have their own quota: beyond it, the oldest are deleted
-- from the middle of the stream. Each entry says how many entries of its epoch before it are not presence
-- events (field `o`), so that a reader knows whether other events are missing where numbers are missing.

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

-- A number that is exact in Lua; nil: the text is none, so another program wrote it.
local function count(digits)
  if digits and string.match(digits, '^%d+$') and not is_less(LARGEST_EPOCH, digits) then
    return tonumber(digits)
  end
end

-- Begins to append to the log in this epoch. nil: it is in another epoch; or its last number is smaller than the
-- caller knows (`known`), because an older copy was put in its place; or its counters are damaged.
local function begin_appending(log, about, epoch, known)
  local counters = redis.call('HMGET', about, 'epoch', 'seq', 'others')
  local seq, others = count(counters[2]), count(counters[3])
  if counters[1] == epoch and seq and others and seq >= tonumber(known) then
    return {log = log, about = about, epoch = epoch, seq = seq, others = others}
  end
end

-- Appends an entry with these fields. Its id; or nil and an error: STALE where the stream is gone, or
-- somebody else wrote to it.
local function append(to, is_presence, ...)
  local next_id = to.epoch .. '-' .. text(to.seq + 1)
  local id = redis.pcall('XADD', to.log, 'NOMKSTREAM', next_id, 'o', text(to.others), ...)
  if type(id) == 'string' then
    to.seq = to.seq + 1
    if not is_presence then
      to.others = to.others + 1
    end
    return id
  end
  local err = id and id.err or ''
  if id and not string.find(err, 'equal or smaller', 1, true) and not string.find(err, 'exhausted', 1, true) then
    return nil, id
  end
  return nil, STALE
end

-- Saves the last number, and how many entries of the epoch are not presence events.
local function save_counters(to)
  redis.call('HSET', to.about, 'seq', text(to.seq), 'others', text(to.others))
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

-- Keeps so many entries beside presence, and up to a hundred more; not all that is too much goes at once.
local function trim_to(log, ids, presence, max_others)
  -- Entries that went with older ones are still in the list.
  for _ = 1, 100 do
    local oldest = redis.call('LINDEX', presence, 0)
    -- An error: another program wrote to the list.
    local entry = oldest and redis.pcall('XRANGE', log, oldest, oldest)
    if not oldest or (entry[1] and not entry.err) then
      break
    end
    redis.call('LPOP', presence)
  end
  local keep = max_others + redis.call('LLEN', presence)
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

