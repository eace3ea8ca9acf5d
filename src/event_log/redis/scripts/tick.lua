-- Appends the numbered messages that are due, whoever asks, each once. Redis' own clock counts.
-- KEYS: log, about, ids. ARGV: epoch, how many events are kept, the interval in us, how much later than
-- that one may be in us before deadlines are skipped, how many messages at most, the record, and the
-- message with {n} for its number. Answers with how many were appended, the time until the next in
-- us, and by how much the latest was late in us.
local log, about = KEYS[1], KEYS[2]
if redis.call('HGET', about, 'epoch') ~= ARGV[1] then
  return redis.error_reply('STALE the log is in another epoch')
end
local interval, grace, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ms = string.format('%.0f', math.floor(now / 1000))
local last = tonumber(redis.call('HGET', about, 'last_tick') or nil)
local is_new = not last or last > now
if is_new then
  -- The first, or the clock was set back.
  last = now
end
local number = tonumber(redis.call('HGET', about, 'ticks') or 0)
local appended, latest = 0, 0
while appended < most and last + interval <= now do
  local late = now - last - interval
  latest = math.max(latest, late)
  last = last + interval
  if late > grace then
    last = now - late % interval
  end
  local n = string.format('%.0f', number)
  local message = string.gsub(ARGV[7], '{n}', n)
  redis.call('XADD', log, ARGV[1] .. '-*', 'r', ARGV[6], 'd', message, 't', ms, 'n', n)
  number = number + 1
  appended = appended + 1
end
if appended > 0 or is_new then
  redis.call('HSET', about, 'last_tick', string.format('%.0f', last), 'ticks', string.format('%.0f', number))
  trim_to(log, KEYS[3], tonumber(ARGV[2]))
end
return {appended, last + interval - now, latest}
