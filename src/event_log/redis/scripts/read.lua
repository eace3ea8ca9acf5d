-- Reads entries in their order, as many as have about so many bytes.
-- KEYS: log. ARGV: from which id on, as XRANGE takes it, how many bytes, how many entries.
local from, bytes, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local entries = {}
while true do
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(8, most - #entries))
  for _, entry in ipairs(page) do
    entries[#entries + 1] = entry
    for _, text in ipairs(entry[2]) do
      bytes = bytes - #text
    end
    from = '(' .. entry[1]
  end
  if #page < 8 or bytes <= 0 or #entries >= most then
    return entries
  end
end
