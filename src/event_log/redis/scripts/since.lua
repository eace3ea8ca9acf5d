-- Finds the first entry that was appended at or after a time. The entries are in the order of their times, so
-- the search halves the range of ids that may contain it, first by epoch, then by seq.
-- KEYS: log.
-- ARGV: a time in ms since 1970, or '' and an age in ms.
-- Returns a list with this entry (empty if there is none), a list with the newest entry, the time in ms, and
-- 1 if that entry is the oldest one in the stream, otherwise 0.
local log = KEYS[1]
local begin = tonumber(ARGV[1])
if not begin then
  local now = redis.call('TIME')
  begin = math.floor(now[1] * 1000 + now[2] / 1000) - tonumber(ARGV[2])
end
local time = string.format('%.0f', math.max(begin, 0))

-- The time of an entry in ms. The start of an epoch has no field `t`, but its epoch is a time.
local function time_of(entry)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 't' then
      return tonumber(entry[2][i + 1]) or 0
    end
  end
  return tonumber(string.match(entry[1], '^(%d+)'))
end

local function first_from(epoch, seq)
  return redis.call('XRANGE', log, string.format('%.0f-%.0f', epoch, seq), '+', 'COUNT', 1)[1]
end

-- The smallest number from `low` to `high` for which `holds` returns true. It must return true for `high`. Ids
-- of other programs can be too large for Lua's numbers, so the number of steps is bounded.
local function smallest(low, high, holds)
  for _ = 1, 64 do
    if low >= high then
      break
    end
    local middle = math.floor((low + high) / 2)
    if holds(middle) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

local function is_since(entry)
  return not entry or time_of(entry) >= begin
end

local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
if not oldest then
  return {{}, {}, time, 0}
end
if is_since(oldest) then
  return {{oldest}, newest, time, 1}
end
local function epoch_of(entry)
  return tonumber(string.match(entry[1], '^(%d+)'))
end
local epoch = smallest(epoch_of(oldest), epoch_of(newest[1]) + 1, function(number)
  return is_since(first_from(number, 0))
end)
-- The entry is in the epoch before, or it is the first entry of the epoch that was found. 2^53 is larger than
-- every seq.
local before = epoch - 1
local seq = smallest(0, 9007199254740992, function(number)
  return is_since(first_from(before, number))
end)
return {{first_from(before, seq)}, newest, time, 0}
