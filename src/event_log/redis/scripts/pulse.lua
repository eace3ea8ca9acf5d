-- The heartbeat of a node (one of the servers that share the log): records that it is alive, evicts entries,
-- reports dead nodes, and begins a new epoch if acknowledged events may be lost. They may be lost if the
-- Redis process is a different one than before, if Redis knows less than the node, or if the stream is not as
-- the scripts left it.
-- KEYS: log, about, ids (entries by publishers' ids), presence (ids of presence events), nodes, times, keys
-- (idempotency keys), key_order (the same keys, oldest first), values (of topics), value_order.
-- ARGV: the format, the node, the run_id of the Redis process, the last id that the node knows or 0-0, how
-- many ticker messages it knows of, after how many ms without a heartbeat a node is dead, the number of
-- events to retain besides presence events, the maximum age of events in ms or 0 for any age, the prefix of
-- the keys of subscriptions, the epoch that the node believes to be current or 0.
-- Returns the epoch, the last id, the number of subscriptions of the node in Redis, the time in ms, and the
-- dead nodes that still have subscriptions, the number of idempotency keys, when the oldest was used in ms, a list
-- of '1' or '' for whether values were dropped and the id up to which values may be lost or '', and the version of
-- the revoked tokens (see revoke.lua) or ''; or an error: FORMAT if the log has another format, otherwise that of a Redis
-- command, such as ZADD.
local log, about, ids, presence, nodes, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local format, node, process, known, ticks = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local dead_after, keep, age, subscriptions = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local assumed_epoch = ARGV[10]
local function larger(one, other)
  return is_less(one, other) and other or one
end

local kept = redis.call('HGET', about, 'format')
if kept and kept ~= format then
  return redis.error_reply('FORMAT ' .. kept)
end
local now = millis(now_us())

local last = '0-0'
if redis.call('EXISTS', log) == 1 then
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = info[i + 1]
    end
  end
end

-- ZADD fails if Redis is out of memory. Its error is returned only after entries were evicted, which frees
-- memory.
local said = redis.pcall('ZADD', nodes, now, node)
trim_to(log, ids, presence, tonumber(keep))
local old = redis.call('ZREVRANGEBYSCORE', times, text(now - age), '-inf', 'LIMIT', 0, 1)[1]
if old and not parts(old) then
  -- This member of `times` is not an id, so another program wrote it. Remove it.
  redis.call('ZREM', times, old)
  old = nil
end
if age > 0 and old then
  -- Evict a bounded number of the entries before `old`. If some remain, later heartbeats evict them.
  local is_rest = false
  if redis.call('EXISTS', ids) == 1 then
    local entries = redis.call('XRANGE', log, '-', '(' .. old, 'COUNT', MOST_TRIMMED)
    forget(ids, entries)
    is_rest = #entries == MOST_TRIMMED
    if is_rest then
      redis.call('XTRIM', log, 'MAXLEN', redis.call('XLEN', log) - MOST_TRIMMED)
    end
  else
    local most = 100 * MOST_TRIMMED
    is_rest = redis.call('XTRIM', log, 'MINID', '~', old, 'LIMIT', most) > 0.99 * most
  end
  if not is_rest then
    -- Keep the entry `old` itself: a subscriber that resumes after it misses nothing and needs no gap.
    redis.call('XTRIM', log, 'MINID', old)
    redis.call('ZREMRANGEBYSCORE', times, '-inf', text(now - age))
  end
end

if type(said) == 'table' and said.err then
  return said
end

local was = redis.call('HMGET', about, 'epoch', 'seq', 'process', 'others')
-- A counter that is not a number was written by another program. Ignore it.
local epoch = count(was[1]) and was[1] or nil
local is_counted = count(was[2]) and count(was[4])
local seq = count(was[2]) and was[2] or '0'
-- The id of the last entry that the scripts appended, according to the counters.
local left = epoch and (epoch .. '-' .. seq) or '0-0'
local function is_ours(other)
  return other == epoch or not is_less(LARGEST_EPOCH, other)
end
local known_epoch, known_seq = parts(known)
if not is_ours(known_epoch) then
  -- The last id that the node knows is that of an entry from another program. Ignore the id.
  known, known_epoch, known_seq = '0-0', '0', '0'
end
local last_epoch, last_number = parts(last)
local is_gone = last == '0-0' or not is_ours(last_epoch)
-- The largest seq of the epoch of `known`, recorded when that epoch ended; false if it has not ended. If
-- `known` has a larger seq, this node knows events that were lost.
local ended = redis.call('HGET', about, 'end:' .. known_epoch)
local is_older = is_gone or is_before(last, known) or is_before(last, left)
  or (ended and is_less(ended, known_seq))
if is_older or last ~= left or not is_counted or was[3] ~= process then
  -- Whether this is a new log, of which no node knows anything.
  local is_new = not epoch and last == '0-0' and known == '0-0' and assumed_epoch == '0'
  local last_before = last
  local after = ''
  if epoch and not is_older then
    after = last
  end
  -- Record the largest seq of the epoch that ends, even if that entry was lost. Otherwise the next heartbeat
  -- would see the same loss and begin another epoch.
  local end_epoch, end_seq = parts(epoch and left or last)
  for _, id in ipairs({last, known}) do
    local other_epoch, other_seq = parts(id)
    if other_epoch == end_epoch then
      end_seq = larger(end_seq, other_seq)
    end
  end
  redis.call('HSET', about, 'end:' .. end_epoch, end_seq)
  if ended then
    redis.call('HSET', about, 'end:' .. known_epoch, larger(ended, known_seq))
  end
  if is_gone then
    -- Delete the stream: another program may have added the largest possible id, after which nothing could be
    -- appended. HLEN fails if the key `ids` is not a hash and so belongs to another program. The script then
    -- ends here and deletes nothing.
    redis.call('HLEN', ids)
    redis.call('DEL', log, ids, presence)
    -- Forget the idempotency keys too: a publisher that repeats a request would be told that its event is in
    -- the log, but the event is lost.
    redis.call('DEL', KEYS[7], KEYS[8])
    last_epoch = '0'
  end
  -- Ignore an assumed epoch that `count` rejects. Otherwise the new epoch would be rejected too, and every
  -- heartbeat would begin another one.
  local newest = count(assumed_epoch) or 0
  for _, other in ipairs({epoch or '0', last_epoch, known_epoch}) do
    newest = math.max(newest, tonumber(other))
  end
  epoch = text(math.max(now, newest + 1))
  last = epoch .. '-0'
  -- Field `o`: the number of events of the previous epoch that are not presence events. The last entries of
  -- that epoch may be presence events that were evicted. With this number, a reader can tell that nothing
  -- else is missing.
  if after == left and is_counted then
    redis.call('XADD', log, last, 'b', after, 'o', was[4])
  else
    redis.call('XADD', log, last, 'b', after)
  end
  redis.call('HSET', about, 'format', format, 'epoch', epoch, 'seq', '0', 'others', '0',
    'process', process)
  if is_new then
    redis.call('HSET', about, 'values', '0 0 0 0')
  elseif is_older or last_before ~= left or not is_counted then
    -- The values may lack events that were lost, or that were appended by a script that failed. The next event
    -- says in its field `p` how long ago the loss was.
    redis.call('HSET', about, 'values_lost_until', last, 'at', text(now))
  end
end
local values = redis.call('HMGET', about, 'values', 'values_dropped', 'values_lost_until')
local number = redis.pcall('HLEN', KEYS[9])
local lost_until = values[3] or ''
local expected = count(string.match(values[1] or '', '^(%d+) %d+ %d+ %d+$'))
if number ~= expected or redis.pcall('ZCARD', KEYS[10]) ~= number then
  -- Another program changed or deleted the values. append.lua then begins again without them.
  lost_until = last
end
if tonumber(ticks) > (count(redis.call('HGET', about, 'ticks')) or -1) then
  redis.call('HSET', about, 'ticks', ticks)
end

if age > 0 then
  -- Record the last id with the current time, at most 1,000 times per maximum age. Every entry up to
  -- this id is at least as old as the recorded time.
  local newest = redis.call('ZREVRANGE', times, 0, 0, 'WITHSCORES')
  if not newest[1] or now - newest[2] >= age / 1000 then
    redis.call('ZADD', times, 'NX', now, last)
  end
end

local dead = {}
for _, other in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', text(now - dead_after))) do
  if redis.call('EXISTS', subscriptions .. other) == 1 then
    dead[#dead + 1] = other
  else
    redis.call('ZREM', nodes, other)
  end
end
-- These commands fail if another program wrote to the name. append.lua then begins again without keys.
local number_of_keys = redis.pcall('HLEN', KEYS[7])
if type(number_of_keys) == 'table' then
  number_of_keys = 0
end
local oldest_key = redis.pcall('LINDEX', KEYS[8], 0)
local value = type(oldest_key) == 'string' and redis.pcall('HGET', KEYS[7], oldest_key)
local used = type(value) == 'string' and count(string.match(value, '^%x+ (%d+) ')) or 0
return {epoch, last, redis.call('HLEN', subscriptions .. node), text(now), dead, number_of_keys, text(used),
  {values[2] or '', lost_until}, redis.call('HGET', about, 'revocations') or ''}
