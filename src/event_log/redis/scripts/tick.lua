-- Appends the numbered messages that are due, whoever asks, each once. Redis' own clock counts.
-- KEYS: log, about, ids, presence. ARGV: epoch, the largest number that the caller knows of it, how many
-- events are kept, the interval in us, how much later than
-- that one may be in us before deadlines are skipped, how many messages at most, the record, and the
-- message with {n} for its number. Answers with how many were appended, the time until the next in
-- us, by how much the latest was late in us, and the last number.
local log, about = KEYS[1], KEYS[2]
local to = begin_appending(log, about, ARGV[1], ARGV[2])
if not to then
  return STALE
end
-- How late a message may be, in us, before nobody is taken to have asked.
local PAUSE = 10 * 1000000
local interval, grace, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_us()
local ms = text(millis(now))
local last = count(redis.call('HGET', about, 'last_tick'))
-- The first; or the clock was set back; or nobody asked for so long that it was switched off, or nobody
-- was there.
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
  local id, err = append(to, false, 'r', ARGV[7], 'd', message, 't', ms, 'n', n)
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
return {appended, last + interval - now, latest, text(to.seq)}
