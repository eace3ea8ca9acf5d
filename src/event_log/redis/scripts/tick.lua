-- Appends the messages of the ticker that are due by the clock of Redis. Every server that shares the log
-- calls this script, and each message is appended once.
-- KEYS: log, about, ids (entries by publishers' ids), presence (ids of presence events).
-- ARGV: the epoch, the largest seq of this epoch that the caller knows, the number of events to retain
-- besides presence events, the interval in us, the lateness in us above which missed deadlines are skipped,
-- the maximum number of messages to append, the record (JSON of all but the data), the message with {n} in
-- place of its number.
-- Returns the number of appended messages, the time until the next deadline in us (not positive if more are
-- due), the lateness of the first message in us, and the id of the last entry; or an error: STALE (the log
-- has another epoch, was replaced, or was changed by another program) or the error of XADD.
local log, about = KEYS[1], KEYS[2]
local to = begin_appending(log, about, ARGV[1], ARGV[2])
if not to then
  return STALE
end
-- If the next message is late by more than this, in us, the schedule starts over. No server has then called
-- this script for a while.
local PAUSE = 10 * 1000000
local interval, grace, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_us()
local last = count(redis.call('HGET', about, 'last_tick'))
-- The schedule starts now if this is the first call, if the clock was set back, or if the next message is
-- late by more than PAUSE. Usually, the ticker was off, or no node was running.
local is_new = not last or last > now or now - last > interval + PAUSE
if is_new then
  last = now
end
local number = count(redis.call('HGET', about, 'ticks')) or 0
local appended, latest = 0, 0
while appended < most and last + interval <= now do
  local late = now - last - interval
  latest = math.max(latest, late)
  last = last + interval
  if late > grace then
    last = now - late % interval
  end
  local n = text(number)
  local message = string.gsub(ARGV[8], '{n}', n)
  local id, err = append(to, false, 'r', ARGV[7], 'd', message, 'n', n)
  if not id then
    return err
  end
  number = number + 1
  appended = appended + 1
end
if appended > 0 or is_new then
  redis.call('HSET', about, 'last_tick', text(last), 'ticks', text(number))
  save_counters(to)
  trim_to(log, KEYS[3], KEYS[4], tonumber(ARGV[3]))
end
return {appended, last + interval - now, latest, last_id(to)}
