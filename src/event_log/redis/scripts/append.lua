-- Appends events. Appends none if the log has another epoch than the caller, or was replaced by an older
-- copy. If XADD fails, the events before the failed one stay in the stream. If there are any, the next
-- heartbeat begins a new epoch.
-- KEYS: log, about, ids (entries by publishers' ids), presence (ids of presence events).
-- ARGV: the epoch, the largest seq of this epoch that the caller knows, the number of events to retain
-- besides presence events; then for each event: its record (JSON of all but the data), its data, and the id
-- that its publisher chose or ''.
-- Returns the ids of the new entries, or an error: STALE (the log has another epoch, was replaced, or was
-- changed by another program) or the error of XADD.
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
    remember(to, given, ARGV[i + 2], id)
  end
  ids[#ids + 1] = id
end
save_counters(to)
trim_to(log, given, KEYS[4], tonumber(ARGV[3]))
return ids
