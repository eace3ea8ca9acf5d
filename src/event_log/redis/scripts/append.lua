-- Appends events, except those that publishers repeat. Appends none if the log has another epoch than the
-- caller, or was replaced by an older copy. If XADD fails, the events before the failed one stay in the
-- stream. If there are any, the next heartbeat begins a new epoch.
--
-- An event is not appended again if its idempotency key is known, or if a retained event has the same id and
-- content. A key is known by the hash `keys`: it maps the key to "<update> <ms since 1970> <entry id>". The
-- list `key_order` has the keys, oldest first.
-- The hash `values` has the current value of each topic, and the sorted set `value_order` their order.
-- KEYS: log, about, ids (entries by publishers' ids), presence (ids of presence events), keys, key_order,
-- values, value_order.
-- ARGV: the epoch, the largest seq of this epoch that the caller knows, the number of events to retain
-- besides presence events, how long a key is remembered in ms, the maximum number of keys, 1 if ids must be
-- unique, the maximum number of values and of their bytes; then for each event: its record (JSON of all but
-- the data), its data, the id that its publisher chose or '', the hash of its content or '', its idempotency
-- key or '', the hash of the update that came with the key or '', and its scope (see values.lua).
-- Returns for each event: its id, "=" and the id of the event that was in the log already, "KEY" (the key was
-- used for another update) or "ID" (another event has the id). Or an error: STALE (the log has another epoch,
-- was replaced, or was changed by another program) or the error of XADD.
local log, about, given = KEYS[1], KEYS[2], KEYS[3]
local keys, key_order = KEYS[5], KEYS[6]
local window, max_keys, is_unique = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local to = begin_appending(log, about, ARGV[1], ARGV[2])
if not to then
  return STALE
end
local now_ms = to.now
local now = to.time

-- Returns the update and the entry id that a known key stands for.
local function known_key(key)
  local value = redis.pcall('HGET', keys, key)
  if type(value) == 'table' then
    -- Another program wrote to this name. Begin again without keys.
    redis.call('DEL', keys, key_order)
    return
  end
  if value then
    return string.match(value, '^(%x+) %d+ (%d+%-%d+)$')
  end
end

local function remember_key(key, update, id)
  redis.call('HSET', keys, key, update .. ' ' .. now .. ' ' .. id)
  local length = redis.pcall('RPUSH', key_order, key)
  if type(length) == 'table' or length < redis.call('HLEN', keys) then
    -- Another program wrote to the list or deleted it, so the order of the other keys is unknown. Forget
    -- them.
    redis.call('DEL', key_order, keys)
    redis.call('HSET', keys, key, update .. ' ' .. now .. ' ' .. id)
    length = redis.call('RPUSH', key_order, key)
  end
  -- Forget at most four old keys for each key that is remembered.
  for _ = 1, 4 do
    local oldest = redis.call('LINDEX', key_order, 0)
    if not oldest then
      return
    end
    local value = redis.call('HGET', keys, oldest)
    local at = value and string.match(value, '^%x+ (%d+) ')
    if at and now_ms - tonumber(at) <= window and length <= max_keys then
      return
    end
    redis.call('LPOP', key_order)
    redis.call('HDEL', keys, oldest)
    length = length - 1
  end
end

-- Decides about one event. Returns what the script returns for it, or nil if the event must be appended.
local function decide(given_id, content, key, update)
  if key ~= '' then
    local known_update, known_id = known_key(key)
    if known_update == update then
      return '=' .. known_id
    elseif known_update then
      return 'KEY'
    end
  end
  if given_id ~= '' then
    local same = redis.call('HGET', given, given_id .. '\n' .. content)
    -- Another program may have deleted the event.
    if same and redis.call('XRANGE', log, same, same)[1] then
      if key ~= '' then
        remember_key(key, update, same)
      end
      return '=' .. same
    elseif is_unique and redis.call('HEXISTS', given, given_id) == 1 then
      return 'ID'
    end
  end
end

local values = begin_values(to, KEYS[7], KEYS[8], tonumber(ARGV[7]), tonumber(ARGV[8]))
local answers = {}
for i = 9, #ARGV, 7 do
  local record, data, given_id, content = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key, update = ARGV[i + 4], ARGV[i + 5]
  local answer = decide(given_id, content, key, update)
  if not answer then
    local id, err
    if given_id == '' then
      id, err = append(to, false, 'r', record, 'd', data)
    else
      id, err = append(to, false, 'r', record, 'd', data, 'g', given_id)
    end
    if not id then
      return err
    end
    if given_id ~= '' then
      remember(to, given, given_id, content, id)
    end
    if key ~= '' then
      remember_key(key, update, id)
    end
    note_value(values, ARGV[i + 6], id, record, data)
    answer = id
  end
  answers[#answers + 1] = answer
end
save_values(values)
save_counters(to)
trim_to(log, given, KEYS[4], tonumber(ARGV[3]))
return answers
