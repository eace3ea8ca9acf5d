-- Changes the list of revoked tokens, and its version, so that the heartbeats of the other nodes notice the change.
-- The version is a name and the number of changes since the list got this name. A list gets a new name if its
-- version is missing, because Redis has then lost the list or a part of it.
-- KEYS: about, revocations.
-- ARGV: a new name, before which time revocations are forgotten in ms, the maximum number of revocations; then
-- for each change: what is revoked, and when in ms since 1970 or '' if its revocation is lifted.
-- Returns the version, or for the first change that is refused "UNKNOWN" (there is no such revocation) or "MANY"
-- (there are too many).
local about, revocations = KEYS[1], KEYS[2]
redis.call('ZREMRANGEBYSCORE', revocations, '-inf', '(' .. ARGV[2])
for i = 4, #ARGV, 2 do
  local tokens, at = ARGV[i], ARGV[i + 1]
  if at == '' then
    if redis.call('ZREM', revocations, tokens) == 0 then
      return 'UNKNOWN'
    end
  else
    local is_new = not redis.call('ZSCORE', revocations, tokens)
    if is_new and redis.call('ZCARD', revocations) >= tonumber(ARGV[3]) then
      return 'MANY'
    end
    redis.call('ZADD', revocations, at, tokens)
  end
end
local version = redis.call('HGET', about, 'revocations')
local name, changes = string.match(version or '', '^(%S+) (%d+)$')
local number = tonumber(changes)
if not number or number >= 2 ^ 52 then
  name, number = ARGV[1], 0
end
version = string.format('%s %.0f', name, number + 1)
redis.call('HSET', about, 'revocations', version)
return version
