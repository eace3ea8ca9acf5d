-- Reads entries in their order: as many as have about so many bytes, but at least one.
-- What is large may come after what is small, so a page has few.
-- KEYS: log. ARGV: from which id on, as XRANGE takes it, how many bytes, how many entries.
local from, most_bytes, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local entries, bytes = {}, 0
local count = 1
while true do
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', count)
  for _, entry in ipairs(page) do
    entries[#entries + 1] = entry
    for _, text in ipairs(entry[2]) do
      bytes = bytes + #text
    end
    from = '(' .. entry[1]
  end
  if #page < count or bytes >= most_bytes or #entries >= most then
    return entries
  end
  -- As many as the rest has room for, if they are like those before.
  local room = math.floor((most_bytes - bytes) * #entries / bytes)
  count = math.max(1, math.min(room, most - #entries, 2 * #entries, 16))
end
