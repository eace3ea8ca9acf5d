-- Stores changes of a node's active subscriptions. Appends a presence event for each subscription that starts
-- or ends and whose change is not stored yet, so a repeated call appends nothing. If XADD fails, the changes
-- before the failed one stay stored. If events were appended for them, the next heartbeat begins a new epoch.
-- KEYS: log, about, ids (entries by publishers' ids), presence (ids of presence events), the node's
-- subscriptions (path to document).
-- ARGV: the epoch, the largest seq of this epoch that the caller knows, how many entries to retain besides
-- presence events, how many presence events to retain; then for each change: the subscription's path, its
-- document ('' if the subscription ended), and the record (JSON of all but the data) and the data of its
-- presence event.
-- Returns the id of the last entry, or an error: STALE (the log has another epoch, was replaced, or was
-- changed by another program) or the error of XADD.
local log, presence, subscriptions = KEYS[1], KEYS[4], KEYS[5]
local to = begin_appending(log, KEYS[2], ARGV[1], ARGV[2])
if not to then
  return STALE
end
for i = 5, #ARGV, 4 do
  local is_active = ARGV[i + 1] ~= ''
  local was_active = redis.call('HGET', subscriptions, ARGV[i]) ~= false
  if is_active ~= was_active then
    -- Append before storing the change: if the append fails, the stored subscriptions must stay as they are.
    local id, err = append(to, true, 'r', ARGV[i + 2], 'd', ARGV[i + 3])
    if not id then
      return err
    end
    redis.call('RPUSH', presence, id)
  end
  if is_active then
    redis.call('HSET', subscriptions, ARGV[i], ARGV[i + 1])
  else
    redis.call('HDEL', subscriptions, ARGV[i])
  end
end
save_counters(to)
local beyond = math.min(redis.call('LLEN', presence) - ARGV[4], MOST_TRIMMED)
if beyond > 0 then
  for _, id in ipairs(redis.call('LPOP', presence, beyond)) do
    -- XDEL fails if this element is not an id, because another program wrote it. Ignore the error.
    redis.pcall('XDEL', log, id)
  end
end
trim_to(log, KEYS[3], presence, tonumber(ARGV[3]))
return last_id(to)
