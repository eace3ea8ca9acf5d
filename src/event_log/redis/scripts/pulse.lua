-- Says that a node is there, and begins a new epoch where the last one cannot simply go on: another
-- Redis process may have lost what its predecessor had, and so has one that knows less than a node.
-- KEYS: log, about, nodes, times. ARGV: the format, the node, which Redis process this is, the last
-- id that the node knows, how many numbered messages it knows of, after how many ms a node is taken
-- for dead, how old events may be in ms or 0, and what keys of subscriptions begin with. Answers with
-- the epoch, how many subscriptions the node has here, the time in ms, and the dead nodes that still
-- have some.
local log, about, nodes, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local format, node, process, known = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local function parts(id)
  local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end

local kept = redis.call('HGET', about, 'format')
if kept and kept ~= format then
  return redis.error_reply('FORMAT ' .. kept)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local last = '0-0'
if redis.call('EXISTS', log) == 1 then
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = info[i + 1]
    end
  end
end
local last_epoch, last_seq = parts(last)
local known_epoch, known_seq = parts(known)
local is_older = known_epoch > last_epoch or (known_epoch == last_epoch and known_seq > last_seq)
local epoch = tonumber(redis.call('HGET', about, 'epoch') or nil)
if not epoch or redis.call('HGET', about, 'process') ~= process or is_older then
  local after = ''
  if epoch and last ~= '0-0' then
    after = last
  end
  epoch = math.max(now, (epoch or 0) + 1, last_epoch + 1, known_epoch + 1)
  last = string.format('%.0f-0', epoch)
  redis.call('XADD', log, last, 'b', after)
  redis.call('HSET', about, 'format', format, 'epoch', string.format('%.0f', epoch), 'process', process)
end
if tonumber(ARGV[5]) > tonumber(redis.call('HGET', about, 'ticks') or 0) then
  redis.call('HSET', about, 'ticks', ARGV[5])
end

local age = tonumber(ARGV[7])
if age > 0 then
  -- Which was the last id at a time: what came up to there is older than that.
  redis.call('ZADD', times, 'NX', now, last)
  local old = redis.call('ZREVRANGEBYSCORE', times, string.format('%.0f', now - age), '-inf', 'LIMIT', 0, 1)
  if old[1] then
    local old_epoch, old_seq = parts(old[1])
    redis.call('XTRIM', log, 'MINID', string.format('%.0f-%.0f', old_epoch, old_seq + 1))
    redis.call('ZREMRANGEBYSCORE', times, '-inf', string.format('%.0f', now - age))
  end
end

redis.call('ZADD', nodes, now, node)
local dead = {}
for _, other in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', string.format('%.0f', now - ARGV[6]))) do
  if redis.call('EXISTS', ARGV[8] .. other) == 1 then
    dead[#dead + 1] = other
  else
    redis.call('ZREM', nodes, other)
  end
end
return {string.format('%.0f', epoch), redis.call('HLEN', ARGV[8] .. node), string.format('%.0f', now), dead}
