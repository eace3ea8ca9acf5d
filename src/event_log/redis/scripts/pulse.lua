-- Says that a node is there, lets go what is too old, and begins a new epoch where the last one cannot
-- simply go on: another Redis process may have lost what its predecessor had, and so has one that knows
-- less than a node; or the stream is not as the scripts left it.
-- KEYS: log, about, ids, presence, nodes, times. ARGV: the format, the node, which Redis process this is, the last
-- id that the node knows, how many numbered messages it knows of, after how many ms a node is taken
-- for dead, how many events are kept, how old they may be in ms or 0, what keys of subscriptions
-- begin with, and the epoch that the node thinks the log is in, or 0. Answers with the epoch, the last id, how many subscriptions the node has here, the time
-- in ms, and the dead nodes that still have some.
local log, about, ids, presence, nodes, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local format, node, process, known, ticks = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local dead_after, keep, age, subscriptions = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local assumed_epoch = ARGV[10]
local function parts(id)
  return string.match(id, '^(%d+)-(%d+)$')
end
local function is_before(one, other)
  local one_epoch, one_seq = parts(one)
  local other_epoch, other_seq = parts(other)
  if one_epoch == other_epoch then
    return is_less(one_seq, other_seq)
  end
  return is_less(one_epoch, other_epoch)
end
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

-- Where no memory is left this fails, and nothing else is done but what leaves more.
local said = redis.pcall('ZADD', nodes, now, node)
trim_to(log, ids, presence, tonumber(keep))
local old = redis.call('ZREVRANGEBYSCORE', times, text(now - age), '-inf', 'LIMIT', 0, 1)[1]
if old and not parts(old) then
  -- Another program wrote it.
  redis.call('ZREM', times, old)
  old = nil
end
if age > 0 and old then
  -- What is too much for once goes at the next pulse.
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
    -- One stays: whoever has it has everything.
    redis.call('XTRIM', log, 'MINID', old)
    redis.call('ZREMRANGEBYSCORE', times, '-inf', text(now - age))
  end
end

if type(said) == 'table' and said.err then
  return said
end

local was = redis.call('HMGET', about, 'epoch', 'seq', 'process', 'others')
-- What is no number was written by another program.
local epoch = count(was[1]) and was[1] or nil
local is_counted = count(was[2]) and count(was[4])
local seq = count(was[2]) and was[2] or '0'
-- Where the scripts left the log.
local left = epoch and (epoch .. '-' .. seq) or '0-0'
local function is_ours(other)
  return other == epoch or not is_less(LARGEST_EPOCH, other)
end
local known_epoch, known_seq = parts(known)
if not is_ours(known_epoch) then
  -- The node read what somebody else wrote.
  known, known_epoch, known_seq = '0-0', '0', '0'
end
local last_epoch, last_number = parts(last)
local is_gone = last == '0-0' or not is_ours(last_epoch)
-- What a node knows beyond the end of an epoch was lost.
local ended = redis.call('HGET', about, 'end:' .. known_epoch)
local is_older = is_gone or is_before(last, known) or is_before(last, left)
  or (ended and is_less(ended, known_seq))
if is_older or last ~= left or not is_counted or was[3] ~= process then
  local after = ''
  if epoch and not is_older then
    after = last
  end
  -- Record the last number that was lost, so that the same loss does not begin another epoch.
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
    -- An id of another program may be the largest possible, so the stream is deleted. HLEN fails if `ids` is
    -- not our hash.
    redis.call('HLEN', ids)
    redis.call('DEL', log, ids, presence)
    last_epoch = '0'
  end
  local newest = 0
  for _, other in ipairs({epoch or '0', last_epoch, known_epoch, assumed_epoch}) do
    newest = math.max(newest, tonumber(other))
  end
  epoch = text(math.max(now, newest + 1))
  last = epoch .. '-0'
  -- With how many entries of the epoch before are not presence events: the last of it may be evicted ones.
  if after == left and is_counted then
    redis.call('XADD', log, last, 'b', after, 'o', was[4])
  else
    redis.call('XADD', log, last, 'b', after)
  end
  redis.call('HSET', about, 'format', format, 'epoch', epoch, 'seq', '0', 'others', '0',
    'process', process)
end
if tonumber(ticks) > (count(redis.call('HGET', about, 'ticks')) or -1) then
  redis.call('HSET', about, 'ticks', ticks)
end

if age > 0 then
  -- Which was the last id at a time, a thousand times within the age: what came up to there is as old.
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
return {epoch, last, redis.call('HLEN', subscriptions .. node), text(now), dead}
