-- Keeps which subscriptions a node has, and appends what is told of each that is not known yet.
-- KEYS: log, about, ids, the node's subscriptions. ARGV: epoch, how many events are kept; then for each its
-- path, its document or nothing if it ended, and the record and the data of what is told.
local log, about, subscriptions = KEYS[1], KEYS[2], KEYS[4]
local epoch = ARGV[1]
local seq = last_seq(about, epoch)
if not seq then
  return STALE
end
local now = text(millis(now_us()))
for i = 3, #ARGV, 4 do
  local is_active = ARGV[i + 1] ~= ''
  local was_active = redis.call('HGET', subscriptions, ARGV[i]) ~= false
  if is_active ~= was_active then
    -- First what can fail.
    local id, err = append(log, epoch, seq, 'r', ARGV[i + 2], 'd', ARGV[i + 3], 't', now)
    if not id then
      return err
    end
    seq = seq + 1
  end
  if is_active then
    redis.call('HSET', subscriptions, ARGV[i], ARGV[i + 1])
  else
    redis.call('HDEL', subscriptions, ARGV[i])
  end
end
redis.call('HSET', about, 'seq', text(seq))
trim_to(log, KEYS[3], tonumber(ARGV[2]))
