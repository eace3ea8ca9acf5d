-- Functions that the other scripts share, except read.lua. This file is prepended to each of them.
--
-- The scripts generate the ids of entries, not Redis: the hash `about` has the current epoch (`epoch`) and
-- the seq of its last entry (`seq`). So no id is assigned twice, even if another program deletes, evicts,
-- cuts or restores the stream. The next append notices if the stream is gone or has larger ids. The next
-- heartbeat also notices if the stream ends too early. Readers notice a jump of seq.
--
-- Presence events are events about active subscriptions. They have their own quota: beyond it, the oldest
-- presence events are deleted, also from the middle of the stream. The field `o` of an event is the number of
-- earlier events of its epoch that are not presence events. With this number, a reader can decide whether a
-- jump of seq means that only presence events are missing.

-- Maximum number of entries that one call evicts if it must look at each, for example for the id that its
-- publisher chose. Redis does nothing else while a script runs, so later calls evict the remaining entries.
local MOST_TRIMMED = 1000

-- 2^52, which Lua represents exactly. Epochs are times in ms, far below it, so a larger epoch was written by
-- another program.
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

-- Whether the first number is less than the second. They are decimal strings, because ids can contain numbers
-- that Lua cannot represent exactly.
local function is_less(one, other)
  if #one ~= #other then
    return #one < #other
  end
  return one < other
end

local STALE = redis.error_reply('STALE the log is in another epoch')

-- Parses a counter that a script wrote. Returns nil if the string is missing. Also returns nil if it is not a
-- number, or larger than LARGEST_EPOCH, because another program must have written it.
local function count(digits)
  if digits and string.match(digits, '^%d+$') and not is_less(LARGEST_EPOCH, digits) then
    return tonumber(digits)
  end
end

-- Returns the state that `append` needs. Returns nil if the caller must not append: the log is in another
-- epoch, or its counters are damaged, or its last seq is smaller than `known`. The caller knows the seq
-- `known`, so an older copy has then replaced the log.
local function begin_appending(log, about, epoch, known)
  local counters = redis.call('HMGET', about, 'epoch', 'seq', 'others')
  local seq, others = count(counters[2]), count(counters[3])
  if counters[1] == epoch and seq and others and seq >= tonumber(known) then
    return {log = log, about = about, epoch = epoch, seq = seq, others = others}
  end
end

-- Appends an entry with these fields. Returns its id, or nil and an error: STALE if the stream is gone or
-- another program added a larger id, otherwise the error of XADD. `to` is the state from begin_appending.
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

-- The id of the last entry, from the state that begin_appending returns.
local function last_id(to)
  return to.epoch .. '-' .. text(to.seq)
end

-- Saves the counters in `to`: the seq of the last entry, and the number of events of the epoch that are not
-- presence events.
local function save_counters(to)
  redis.call('HSET', to.about, 'seq', text(to.seq), 'others', text(to.others))
end

-- Removes the ids that publishers chose for these entries from the hash `ids`, unless `ids` maps them to
-- other entries.
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

-- Evicts the oldest entries, so that about `max_others` entries remain in addition to presence events. About
-- a hundred more may remain, and still more if there are too many to evict in one call.
local function trim_to(log, ids, presence, max_others)
  -- Remove the ids of evicted entries from the front of the presence list, at most 100 in one call.
  for _ = 1, 100 do
    local oldest = redis.call('LINDEX', presence, 0)
    -- XRANGE fails if this element is not an id, because another program wrote it. Such an element is removed
    -- too.
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

