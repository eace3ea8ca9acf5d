-- Reads entries in order, about as many as fit into a number of bytes, but at least one if there is any.
-- XRANGE cannot limit bytes, so entries are read in small pages: an entry may be much larger than those
-- before it.
-- KEYS: log.
-- ARGV: the id to start at, in the syntax of XRANGE ('(' before the id excludes it), the maximum number of
-- bytes (approximate), the maximum number of entries.
-- Returns the entries.
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
  -- Size of the next page: the number of entries that fit into the remaining bytes, if they are as large on
  -- average as those read so far. At most 16, and at most twice as many as were read so far.
  local room = math.floor((most_bytes - bytes) * #entries / bytes)
  count = math.max(1, math.min(room, most - #entries, 2 * #entries, 16))
end
