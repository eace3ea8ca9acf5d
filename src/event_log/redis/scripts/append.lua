-- Appends events if the log is still in the epoch that the caller names. Otherwise appends none of them.
-- KEYS: log, about, ids, presence.
-- ARGV: the epoch, the largest seq of it that the caller knows, the number of events to retain (presence
-- events not counted); then for each event: its record, its data, its given id or ''.
-- Returns the ids, or the error STALE.
local log, about, given = KEYS[1], KEYS[2], KEYS[3]
local to = begin_appending(log, about, ARGV[1], ARGV[2])
if not to then
  return STALE
end
local now = text(millis(now_us()))
local ids = {}
for i = 4, #ARGV, 3 do
  local id, err
  if ARGV[i + 2] == '' then
    id, err = append(to, false, 'r', ARGV[i], 'd', ARGV[i + 1], 't', now)
  else
    id, err = append(to, false, 'r', ARGV[i], 'd', ARGV[i + 1], 't', now, 'g', ARGV[i + 2])
  end
  if not id then
    return err
  end
  if ARGV[i + 2] ~= '' then
    -- If a publisher gives an id a second time, the id still refers to the older event.
    redis.call('HSETNX', given, ARGV[i + 2], id)
  end
  ids[#ids + 1] = id
end
save_counters(to)
trim_to(log, given, KEYS[4], tonumber(ARGV[3]))
return ids
