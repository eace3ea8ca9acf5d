-- Functions that the other scripts share, except read.lua. This file is prepended to each of them.
--
-- The scripts generate ids, not Redis: the hash `about` has the current epoch (`epoch`) and the seq of the
-- last entry (`seq`). So no id is given twice, even if the stream was deleted, evicted, cut or restored,
-- and a script that appends detects this in the same step.
--
-- Presence events are events about active subscriptions. They have their own quota: beyond it, the oldest
-- are deleted from the middle of the stream. The field `o` of an event is the number of earlier entries
-- of its epoch that are not presence events. With it, a reader can decide whether a jump of seq means that
-- only presence events are missing.

-- Maximum number of entries that one call evicts if it must examine each. Redis does nothing else
-- meanwhile. Later calls evict the rest.
local MOST_TRIMMED = 1000

-- 2^52. Lua represents integers up to this exactly, and also somewhat larger ones. The epochs of the
-- scripts are times in ms, far below it. Another program wrote any larger one.
local LARGEST_EPOCH = '4503599627370496'

local function text(number)
  return string.format('%.0f', number)
end

-- The clock of Redis, in us since 1970.
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function millis(us)
  return math.floor(us / 1000)
end

-- Whether one number is less than the other. Both are decimal strings, because ids can contain numbers that
-- are not exact in Lua.
local function is_less(one, other)
  if #one ~= #other then
    return #one < #other
  end
  return one < other
end

local STALE = redis.error_reply('STALE the log is in another epoch')

-- Parses a counter. Returns nil if the string is missing, is not a number, or is larger than LARGEST_EPOCH:
-- the scripts did not write it.
local function count(digits)
  if digits and string.match(digits, '^%d+$') and not is_less(LARGEST_EPOCH, digits) then
    return tonumber(digits)
  end
end

-- Returns the state that `append` needs. Returns nil if the log is in another epoch, if its last seq is
-- smaller than `known`, the one that the caller knows (an older copy has replaced the log), or if its
-- counters are damaged.
local function begin_appending(log, about, epoch, known)
  local counters = redis.call('HMGET', about, 'epoch', 'seq', 'others')
  local seq, others = count(counters[2]), count(counters[3])
  if counters[1] == epoch and seq and others and seq >= tonumber(known) then
    return {log = log, about = about, epoch = epoch, seq = seq, others = others}
  end
end

-- Appends an entry with these fields. Returns its id, or nil and an error: STALE if the stream is gone or
-- another program wrote to it.
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

-- The id of the last entry.
local function last_id(to)
  return to.epoch .. '-' .. text(to.seq)
end

-- Saves the seq of the last entry, and the number of entries of the epoch that are not presence events.
local function save_counters(to)
  redis.call('HSET', to.about, 'seq', text(to.seq), 'others', text(to.others))
end

-- Deletes the given ids of these entries.
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

-- Evicts the oldest entries, so that about `max_others` remain besides presence events. About a hundred
-- more may remain, and more than that if one call cannot evict all of them.
local function trim_to(log, ids, presence, max_others)
  -- Remove ids from the front of the presence list whose entries are already evicted, at most 100 in one
  -- call.
  for _ = 1, 100 do
    local oldest = redis.call('LINDEX', presence, 0)
    -- XRANGE fails if this element is not an id: another program wrote it. It is removed too.
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

