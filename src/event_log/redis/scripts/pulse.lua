-- Says that a node is there, lets go what is too old, and begins a new epoch where the last one cannot
-- simply go on: another Redis process may have lost what its predecessor had, and so has one that knows
-- less than a node; or somebody else wrote to the log.
-- KEYS: log, about, ids, nodes, times. ARGV: the format, the node, which Redis process this is, the last
-- id that the node knows, how many numbered messages it knows of, after how many ms a node is taken
-- for dead, how many events are kept, how old they may be in ms or 0, and what keys of subscriptions
-- begin with. Answers with the epoch, the last id, how many subscriptions the node has here, the time
-- in ms, and the dead nodes that still have some.
local log, about, ids, nodes, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local format, node, process, known, ticks = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local dead_after, keep, age, subscriptions = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local function parts(id)
  local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
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
trim_to(log, ids, tonumber(keep))
local old = redis.call('ZREVRANGEBYSCORE', times, text(now - age), '-inf', 'LIMIT', 0, 1)[1]
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

local last_epoch, last_seq = parts(last)
local known_epoch, known_seq = parts(known)
local epoch = tonumber(redis.call('HGET', about, 'epoch') or nil)
local is_same = redis.call('HGET', about, 'process') == process and last_epoch == epoch
-- What a node knows beyond the end of an epoch was lost.
local ended = tonumber(redis.call('HGET', about, 'end:' .. text(known_epoch)) or nil)
local is_older = known_epoch > last_epoch or (known_epoch == last_epoch and known_seq > last_seq)
  or (ended and known_seq > ended)
if not is_same or is_older then
  local after = ''
  if epoch and last ~= '0-0' and not is_older then
    after = last
  end
  -- Once it is told, it is told.
  redis.call('HSET', about, 'end:' .. text(last_epoch), text(math.max(last_seq, known_epoch == last_epoch and known_seq or 0)))
  if ended then
    redis.call('HSET', about, 'end:' .. text(known_epoch), text(known_seq))
  end
  epoch = math.max(now, (epoch or 0) + 1, last_epoch + 1, known_epoch + 1)
  last = text(epoch) .. '-0'
  redis.call('XADD', log, last, 'b', after)
  redis.call('HSET', about, 'format', format, 'epoch', text(epoch), 'process', process)
end
if tonumber(ticks) > tonumber(redis.call('HGET', about, 'ticks') or 0) then
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
return {text(epoch), last, redis.call('HLEN', subscriptions .. node), text(now), dead}
