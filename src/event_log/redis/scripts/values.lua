-- Keeps the current values of topics, for append.lua. The hash `values` has the values (names.rs describes their
-- format), and the sorted set `value_order` their fields, least recently updated first. A script notes all of its
-- events and then saves the changes together.

-- Returns the state that the other functions need. `to` is the state from begin_appending.
local function begin_values(to, values, value_order, max_values, max_bytes)
  return {
    log = to,
    now = to.time,
    -- The last id before the events of the script.
    before = last_id(to),
    values = values,
    order = value_order,
    max_values = max_values,
    max_bytes = max_bytes,
    -- Whether any topic may have a private value.
    has_private = not to.values or string.match(to.values, '^%d+ %d+ (%d+) %d+$') ~= '0',
    -- The changed fields. For each: its new value, false if it is removed, and the number of its last change.
    fields = {},
    new = {},
    changed_at = {},
    changes = 0,
  }
end

local function change_value(to, field, value)
  if to.new[field] == nil then
    to.fields[#to.fields + 1] = field
  end
  to.changes = to.changes + 1
  to.new[field], to.changed_at[field] = value, to.changes
end

-- Whether a topic has a public value.
local function has_public(to, field)
  if to.new[field] ~= nil then
    return to.new[field]
  end
  return redis.pcall('HEXISTS', to.values, field) == 1
end

-- Makes an event the value of its topics. An event with empty data clears them. A private one with empty data
-- is kept while it hides a public value. `scope` is '+' (public) or '-' (private) followed by the topics, each
-- after a line break, or '' if the event is no value.
local function note_value(to, scope, id, record, data)
  if scope == '' then
    return
  end
  if to.max_values == 0 then
    to.is_off = true
    return
  end
  local is_private = string.sub(scope, 1, 1) == '-'
  to.has_private = to.has_private or is_private
  local value = id .. ' ' .. to.now .. ' ' .. #record .. ' ' .. record .. data
  local _, topics = string.gsub(scope, '\n', '')
  if topics * #value + #scope > to.max_bytes then
    -- The event alone exceeds the limit: its topics have no value.
    for topic in string.gmatch(scope, '\n([^\n]+)') do
      change_value(to, '+' .. topic, false)
      change_value(to, '-' .. topic, false)
    end
    redis.call('HSET', to.log.about, 'values_dropped', '1')
    return
  end
  for topic in string.gmatch(scope, '\n([^\n]+)') do
    if is_private then
      change_value(to, '-' .. topic, (data ~= '' or has_public(to, '+' .. topic)) and value)
    else
      change_value(to, '+' .. topic, data ~= '' and value)
      if to.has_private then
        change_value(to, '-' .. topic, false)
      end
    end
  end
end

-- Returns the counters of the values: their number and bytes, the number of private ones, and the clock, which
-- counts the changes. If another program changed or deleted values, forgets all of them.
local function value_counters(to)
  local number, bytes, private, clock = string.match(to.log.values or '', '^(%d+) (%d+) (%d+) (%d+)$')
  local counters = {number = count(number), bytes = count(bytes), private = count(private), clock = count(clock)}
  local is_ours = counters.number and counters.bytes and counters.private and counters.clock
    and counters.private <= counters.number and (counters.number > 0 or counters.bytes == 0)
  -- These commands fail if another program wrote to the name.
  if is_ours and redis.pcall('HLEN', to.values) == counters.number
    and redis.pcall('ZCARD', to.order) == counters.number then
    return counters
  end
  redis.call('DEL', to.values, to.order)
  redis.call('HSET', to.log.about, 'values_lost_until', to.before)
  return {number = 0, bytes = 0, private = 0, clock = 0}
end

-- Updates the counters for a field that is added (1) or removed (-1), with the length of its value.
local function count_value(counters, sign, field, length)
  counters.number = counters.number + sign
  counters.bytes = counters.bytes + sign * (#field + length)
  if string.sub(field, 1, 1) == '-' then
    counters.private = counters.private + sign
  end
end

-- Calls a command with a key and a list of arguments, some of them at a time, because Lua's stack is limited.
local function call_with_all(command, key, arguments)
  for i = 1, #arguments, 1000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 999, #arguments)))
  end
end

-- Whether a value is an event with empty data.
local function is_clear(value)
  local length, rest = string.match(value, '^%S+ %d+ (%d+) (.*)$')
  return length and #rest == tonumber(length)
end

-- Drops the values that were updated least recently, until the values are within their limits. Drops at most
-- MOST_TRIMMED in one call.
local function drop_values(to, counters)
  for _ = 1, MOST_TRIMMED do
    if counters.number <= to.max_values and counters.bytes <= to.max_bytes then
      return
    end
    local field = redis.call('ZRANGE', to.order, 0, 0)[1]
    if not field then
      -- Another program changed a value, so the bytes were wrong.
      counters.bytes = 0
      return
    end
    redis.call('ZREM', to.order, field)
    count_value(counters, -1, field, redis.call('HSTRLEN', to.values, field))
    redis.call('HDEL', to.values, field)
    redis.call('HSET', to.log.about, 'values_dropped', '1')
    if string.sub(field, 1, 1) == '+' and counters.private > 0 then
      -- A private event with empty data has nothing left to hide.
      local private = '-' .. string.sub(field, 2)
      local value = redis.call('HGET', to.values, private)
      if value and is_clear(value) then
        count_value(counters, -1, private, #value)
        redis.call('HDEL', to.values, private)
        redis.call('ZREM', to.order, private)
      end
    end
  end
end

-- Returns the lengths of the values of these fields, 0 for a field that is not there. One command that returns
-- the values themselves is faster than a command for each length, unless some values may be large.
local function value_lengths(to, counters, fields)
  local lengths = {}
  if counters.bytes > 2048 * counters.number or counters.bytes > 2 ^ 26 then
    for i, field in ipairs(fields) do
      lengths[i] = redis.call('HSTRLEN', to.values, field)
    end
    return lengths
  end
  for i = 1, #fields, 1000 do
    local values = redis.call('HMGET', to.values, unpack(fields, i, math.min(i + 999, #fields)))
    for _, value in ipairs(values) do
      lengths[#lengths + 1] = value and #value or 0
    end
  end
  return lengths
end

-- Saves what note_value noted, except for the counters, which save_counters saves.
local function save_values(to)
  if to.is_off and to.log.values ~= 'off' then
    -- The values become outdated. If they are switched on again, begin without them.
    redis.call('DEL', to.values, to.order)
    redis.call('HSET', to.log.about, 'values_lost_until', last_id(to.log))
    to.log.values = 'off'
  end
  if #to.fields == 0 then
    return
  end
  local counters = value_counters(to)
  local set, order, removed = {}, {}, {}
  local lengths = value_lengths(to, counters, to.fields)
  for i, field in ipairs(to.fields) do
    local old, new = lengths[i], to.new[field]
    if old > 0 then
      count_value(counters, -1, field, old)
    end
    if new then
      count_value(counters, 1, field, #new)
      local number = text(counters.clock + to.changed_at[field])
      set[#set + 1], set[#set + 2] = field, new
      order[#order + 1], order[#order + 2] = number, field
    elseif old > 0 then
      removed[#removed + 1] = field
    end
  end
  counters.clock = counters.clock + to.changes
  call_with_all('HDEL', to.values, removed)
  call_with_all('ZREM', to.order, removed)
  call_with_all('HSET', to.values, set)
  call_with_all('ZADD', to.order, order)
  drop_values(to, counters)
  to.log.values = table.concat({
    text(counters.number), text(counters.bytes), text(counters.private), text(counters.clock),
  }, ' ')
end

