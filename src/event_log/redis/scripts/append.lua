-- Appends events, all of them in the epoch that the caller knows, and answers with their ids.
-- KEYS: log, about. ARGV: epoch, how many events are kept, what keys of given ids begin with, how
-- long those are kept in ms; then for each event its record, its data, and its given id or nothing.
local log, about = KEYS[1], KEYS[2]
if redis.call('HGET', about, 'epoch') ~= ARGV[1] then
  return redis.error_reply('STALE the log is in another epoch')
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local ids = {}
for i = 5, #ARGV, 3 do
  local id = redis.call('XADD', log, ARGV[1] .. '-*', 'r', ARGV[i], 'd', ARGV[i + 1], 't', now)
  if ARGV[i + 2] ~= '' then
    redis.call('SET', ARGV[3] .. ARGV[i + 2], id, 'NX', 'PX', ARGV[4])
  end
  ids[#ids + 1] = id
end
redis.call('XTRIM', log, 'MAXLEN', '~', ARGV[2])
return ids
