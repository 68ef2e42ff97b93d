// What the scripts share (scripts.ts), in Lua.

/** Shared by the scripts: the header as a table, and its text form. */
export const HEADER = `
local function parse_header(text)
  if not text then return nil end
  local f = { string.match(text, '^1 (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+)$') }
  if #f ~= 10 then return nil end
  return { generation = f[1], adoption = f[2], epoch = f[3], from = tonumber(f[4]), tagFrom = tonumber(f[5]),
           to = tonumber(f[6]), visible = tonumber(f[7]), offset = f[8], digest = f[9], parts = f[10] }
end
local function read_header(key) return parse_header(redis.call('GET', key)) end
local function num(n) return string.format('%.0f', n) end
local function write_header(key, h)
  local text = table.concat({ '1', h.generation, h.adoption, h.epoch, num(h.from), num(h.tagFrom), num(h.to),
    num(h.visible), h.offset, h.digest, h.parts }, ' ')
  redis.call('SET', key, text)
  return text
end
local SENTINEL = ''
local function intact(key) return redis.call('ZSCORE', key, SENTINEL) ~= false end
local function as_of(entry) return (struct.unpack('>d', entry, 5)) end
`;

/**
 * Names the chunks of an entry that is about to go, from its first 72 bytes, as `<how many>:<token>`; nil where it has none. They
 * are not deleted here, because a script shall touch only the keys that it was given; whoever called does that, and where
 * nobody does they end with their TTL.
 */
export const CHUNKS = `
local function chunks_of(key, head)
  if #head < 72 or bit.band(string.byte(head, 3), 8) == 0 then return nil end
  return struct.unpack('>H', head, 71) .. ':' .. redis.call('GETRANGE', key, -16, -1)
end
`;

/** A namespace's state; nil where it is missing or belongs to another adoption. */
export const PAIR = `
local function read_pair(key, adoption)
  local text = redis.call('GET', key)
  if not text then return nil end
  local a, from, fence = string.match(text, '^(%S+) (%d+) (%d+)$')
  if a ~= adoption then return nil end
  return { from = tonumber(from), fence = tonumber(fence) }
end
local function write_pair(key, adoption, p)
  redis.call('SET', key, adoption .. ' ' .. num(p.from) .. ' ' .. num(p.fence))
end
`;

/** Forgets the oldest fences beyond `most`, a local of the script. Answers the position above which the set is complete. */
export const TRIM = `local function trim(key, from)
  -- At most so many at once: a smaller limit in the configuration must not hold Redis up.
  local surplus = math.min(redis.call('ZCARD', key) - 1 - most, 10000)
  if surplus <= 0 then return from end
  local popped = redis.call('ZPOPMIN', key, surplus)
  return math.max(from, tonumber(popped[#popped]))
end
`;
