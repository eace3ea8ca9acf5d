-- Keeps which subscriptions a node has, and appends what is told of each that is not known yet.
-- KEYS: log, about, ids, presence, the node's subscriptions. ARGV: epoch, the largest number that
-- the caller knows of it, how many other events are kept, and how many of these; then for each its path, its document or nothing if it ended, and the record and the
-- data of what is told. Answers with the last number.
local log, presence, subscriptions = KEYS[1], KEYS[4], KEYS[5]
local to = begin_appending(log, KEYS[2], ARGV[1], ARGV[2])
if not to then
  return STALE
end
local now = text(millis(now_us()))
for i = 5, #ARGV, 4 do
  local is_active = ARGV[i + 1] ~= ''
  local was_active = redis.call('HGET', subscriptions, ARGV[i]) ~= false
  if is_active ~= was_active then
    -- First what can fail.
    local id, err = append(to, true, 'r', ARGV[i + 2], 'd', ARGV[i + 3], 't', now)
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
    -- Fails if another program wrote to the list.
    redis.pcall('XDEL', log, id)
  end
end
trim_to(log, KEYS[3], presence, tonumber(ARGV[3]))
return text(to.seq)
