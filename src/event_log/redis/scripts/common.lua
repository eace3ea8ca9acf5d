-- Functions that the other scripts share, except read.lua and since.lua. This file is prepended to each of them.
--
-- The scripts generate the ids of entries, not Redis: the hash `about` has the current epoch (`epoch`) and
-- the seq of its last entry (`seq`). So no id is assigned twice, even if another program deletes, evicts,
-- cuts or restores the stream. The next append notices if the stream is gone or has larger ids. The next
-- heartbeat also notices if the stream ends too early. Readers notice a jump of seq.
--
-- Presence events are events about active subscriptions. They have their own quota: beyond it, the oldest
-- presence events are deleted, also from the middle of the stream. The field `o` of an event is the number of
-- earlier events of its epoch that are not presence events. With this number, a reader can decide whether a
-- jump of seq means that only presence events are missing. The field `p` is the time in ms between the previous
-- event and this one, so that a reader knows when the newest evicted event was appended.
--
-- The hash `ids` finds events by the ids that publishers chose. If several events have the same id, they form
-- a chain, from the oldest to the newest, so that the next one is found when the oldest is evicted:
--   <publisher's id>    the oldest event with this id
--   #<event>            the next newer event with the same id, if there is one
--   #<publisher's id>   the newest event with this id, if there are or were several
--   ##<event>           the content of the event, as a hash
--   <publisher's id>, a line break and the hash of a content: the newest event with this id and this content
-- A publisher's id cannot begin with `#`, cannot contain a line break and cannot have the form of an event's
-- id, so no two fields have the same name.

-- Maximum number of entries that one call evicts if it must look at each, for example for the id that its
-- publisher chose. Redis does nothing else while a script runs, so later calls evict the remaining entries.
local MOST_TRIMMED = 1000

-- 2^52, which Lua represents exactly. Counters and epochs are far below it, so a larger one was written by
-- another program.
local LARGEST_COUNT = '4503599627370496'
-- 2^51. Epochs are times in ms, far below it. So an id with a larger epoch was written by another program,
-- unless that epoch is the current one: the epoch that follows a foreign id can be larger by one. `count`
-- must accept it, or the next heartbeat would begin another epoch. So this limit is lower than LARGEST_COUNT.
local LARGEST_EPOCH = '2251799813685248'

-- '%d' is faster, but wrong for large numbers where Redis has 32 bits.
local WHOLE = string.format('%d', 2 ^ 52) == LARGEST_COUNT and '%d' or '%.0f'

local function text(number)
  return string.format(WHOLE, number)
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

-- The epoch and the seq of an id, or nil if the text is not an id.
local function parts(id)
  return string.match(id, '^(%d+)-(%d+)$')
end

-- Whether the first id is less than the second. A text that is not an id, because another program wrote it,
-- is less than every id.
local function is_before(one, other)
  local one_epoch, one_seq = parts(one)
  local other_epoch, other_seq = parts(other)
  if one_epoch == other_epoch then
    return is_less(one_seq or '', other_seq or '')
  end
  return is_less(one_epoch or '', other_epoch or '')
end

local STALE = redis.error_reply('STALE the log is in another epoch')

-- Parses a counter that a script wrote. Returns nil if the string is missing. Also returns nil if it is not a
-- number, or larger than LARGEST_COUNT, because another program must have written it.
local function count(digits)
  if digits and string.match(digits, '^%d+$') and not is_less(LARGEST_COUNT, digits) then
    return tonumber(digits)
  end
end

-- Returns the state that `append` needs. Returns nil if the caller must not append: the log is in another
-- epoch, or its counters are damaged, or its last seq is smaller than `known`. The caller knows the seq
-- `known`, so an older copy has then replaced the log.
local function begin_appending(log, about, epoch, known)
  local counters = redis.call('HMGET', about, 'epoch', 'seq', 'others', 'at', 'values')
  local seq, others = count(counters[2]), count(counters[3])
  if counters[1] == epoch and seq and others and seq >= tonumber(known) then
    local to = {log = log, about = about, epoch = epoch, seq = seq, others = others}
    to.now, to.at, to.values = millis(now_us()), count(counters[4]), counters[5]
    to.time = text(to.now)
    return to
  end
end

-- Appends an event with these fields and its time. Returns its id, or nil and an error: STALE if the stream is
-- gone or another program added an id after the last one in `to`, otherwise the error of XADD. `to` is the
-- state from begin_appending.
local function append(to, is_presence, ...)
  local next_id = to.epoch .. '-' .. text(to.seq + 1)
  local id
  if to.at then
    -- The events of a script have the same time.
    local pause = to.at == to.now and '0' or text(math.max(to.now - to.at, 0))
    id = redis.pcall('XADD', to.log, 'NOMKSTREAM', next_id, 'o', text(to.others), 't', to.time, 'p', pause, ...)
  else
    id = redis.pcall('XADD', to.log, 'NOMKSTREAM', next_id, 'o', text(to.others), 't', to.time, ...)
  end
  if type(id) == 'string' then
    to.seq = to.seq + 1
    to.at = to.now
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

-- Saves the counters in `to`: the seq of the last entry, the number of events of the epoch that are not
-- presence events, the time of the newest event, and the counters of the values.
local function save_counters(to)
  redis.call('HSET', to.about, 'seq', text(to.seq), 'others', text(to.others), 'at', text(to.at or to.now),
    'values', to.values or '')
end

-- Removes the events up to the id `last` from the chain of the publisher's id `given`. Usually removes one
-- event. It removes several if other programs have deleted events from the stream. Further ones beyond the
-- limit remain until a later call. Until then, a subscriber that resumes after `given` can receive a gap.
local function forget_up_to(ids, given, last)
  for _ = 1, MOST_TRIMMED do
    local oldest = redis.call('HGET', ids, given)
    if not oldest or is_before(last, oldest) then
      return
    end
    local following = redis.call('HGET', ids, '#' .. oldest)
    local content = redis.call('HGET', ids, '##' .. oldest)
    if content then
      local with_content = given .. '\n' .. content
      if redis.call('HGET', ids, with_content) == oldest then
        redis.call('HDEL', ids, with_content)
      end
    end
    redis.call('HDEL', ids, '#' .. oldest, '##' .. oldest)
    if following then
      redis.call('HSET', ids, given, following)
    else
      redis.call('HDEL', ids, given, '#' .. given)
    end
  end
end

-- Adds the event `id` to the chain of the publisher's id `given`, and remembers its content, a hash. `to` is
-- the state from begin_appending.
local function remember(to, ids, given, content, id)
  redis.call('HSET', ids, given .. '\n' .. content, id, '##' .. id, content)
  local oldest = redis.call('HGET', ids, given)
  if oldest then
    -- If other programs always trim the stream first, `forget` never sees an event of this chain. So remove
    -- one event that is older than the stream: the chain then does not grow. Also remove an id that is not
    -- less than `id`, because another program wrote it.
    to.first = to.first or redis.call('XRANGE', to.log, '-', '+', 'COUNT', 1)[1][1]
    if is_before(oldest, to.first) or not is_before(oldest, id) then
      forget_up_to(ids, given, oldest)
    end
  end
  if redis.call('HSETNX', ids, given, id) == 1 then
    redis.call('HDEL', ids, '#' .. given)
    return
  end
  local newest = redis.call('HGET', ids, '#' .. given) or redis.call('HGET', ids, given)
  redis.call('HSET', ids, '#' .. newest, id, '#' .. given, id)
end

-- Removes these entries, which are evicted next, from the hash `ids`.
local function forget(ids, entries)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'g' then
        forget_up_to(ids, fields[i + 1], entry[1])
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

