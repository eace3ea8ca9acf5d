-- Changes the list of revoked tokens, and its version, so that the heartbeats of the other nodes notice the change.
-- The version is the name of the list, the number of changes since it got this name, and the name of the last
-- change. A list gets a new name if its version is missing, because Redis has then lost the list or a part of it.
-- The name of the last change differs if Redis has lost changes and had others since.
-- KEYS: about, revocations.
-- ARGV:
-- - a new name;
-- - the time in ms before which revocations are forgotten;
-- - the maximum number of revocations;
-- - for each change: what is revoked, and when in ms since 1970 or '' if its revocation is lifted.
-- Returns the version, or for the first change that is refused "UNKNOWN" (there is no such revocation) or "MANY"
-- (there are too many). Earlier changes of the same call then stay, and the version does not change.
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
    -- A node that writes what Redis has lost must not replace a newer revocation.
    redis.call('ZADD', revocations, 'GT', at, tokens)
  end
end
local version = redis.call('HGET', about, 'revocations')
local name, changes = string.match(version or '', '^(%S+) (%d+) %S+$')
local number = tonumber(changes)
if not number or number >= 2 ^ 52 then
  name, number = ARGV[1], 0
end
version = string.format('%s %.0f %s', name, number + 1, ARGV[1])
redis.call('HSET', about, 'revocations', version)
return version
