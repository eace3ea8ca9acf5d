-- Appends events, all of them in the epoch that the caller knows, and answers with their ids.
-- KEYS: log, about, ids. ARGV: epoch, how many events are kept; then for each event its record, its
-- data, and its given id or nothing.
local log, about, given = KEYS[1], KEYS[2], KEYS[3]
local refused = stale(about, ARGV[1])
if refused then
  return refused
end
local now = text(millis(now_us()))
local ids = {}
for i = 3, #ARGV, 3 do
  local id
  if ARGV[i + 2] == '' then
    id = redis.call('XADD', log, ARGV[1] .. '-*', 'r', ARGV[i], 'd', ARGV[i + 1], 't', now)
  else
    id = redis.call('XADD', log, ARGV[1] .. '-*', 'r', ARGV[i], 'd', ARGV[i + 1], 't', now, 'g', ARGV[i + 2])
    -- An id that was given before means the older event.
    redis.call('HSETNX', given, ARGV[i + 2], id)
  end
  ids[#ids + 1] = id
end
trim_to(log, given, tonumber(ARGV[2]))
return ids
