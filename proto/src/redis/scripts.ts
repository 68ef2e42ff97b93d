import { CHUNKS, HEADER, PAIR, TRIM } from './lua.ts';

/**
 * The Lua side of the L2 rule (SPEC I7). Every write to Redis is one of these scripts, so each step is atomic and a
 * snapshot or a replica always holds a prefix of them. They run on Redis 6.2 and later and on Valkey.
 *
 * Numbers are written with %.0f: doubles are exact up to 2^53, and tostring() would round to 14 digits.
 *
 * A script that fails in the middle (out of memory, a foreign key of another type) keeps what it wrote so far. In each of
 * them the writes that make something servable therefore come last.
 */

/**
 * Starts a new generation of a log at a position. Nothing of the old one can be reached afterwards: entries carry the
 * generation in their name, and pairs the adoption, whose first name is that of the generation. (Were adoptions only
 * counted, a pair that is applied no more would come to life again under the same number in the next generation.)
 *
 * KEYS log, K, T, then a pair key a namespace.
 * ARGV header that was seen ('' when the log is missing), new generation, epoch, position, visible, next offset, digest.
 * Returns {status, header}: 'ok', or 'changed' when another applier was faster.
 */
export const BEGIN_SCRIPT = `${HEADER}${PAIR}
local text = redis.call('GET', KEYS[1])
if (text or '') ~= ARGV[1] then return { 'changed', text } end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('ZADD', KEYS[2], '+inf', SENTINEL)
redis.call('ZADD', KEYS[3], '+inf', SENTINEL)
local at = tonumber(ARGV[4])
for i = 4, #KEYS do write_pair(KEYS[i], ARGV[2], { from = at, fence = 0 }) end
return { 'ok', write_header(KEYS[1], { generation = ARGV[2], adoption = ARGV[2], epoch = ARGV[3], from = at,
  tagFrom = at, to = at, visible = tonumber(ARGV[5]), offset = ARGV[6], digest = ARGV[7], parts = '-' }) }
`;

/**
 * Takes over a log with another set of namespaces: those that were applied before keep their history, new ones begin
 * here, and those that are not named any more become unknown (their state is of an older adoption). The new adoption is a
 * name that was never used: after a failover two appliers could count to the same number with different sets.
 *
 * KEYS log, then a pair key a namespace. ARGV generation, adoption that was seen, new adoption, digest.
 * Returns {status, header}: 'ok', or 'changed'.
 */
export const ADOPT_SCRIPT = `${HEADER}${PAIR}
local text = redis.call('GET', KEYS[1])
local h = parse_header(text)
if not h or h.generation ~= ARGV[1] or h.adoption ~= ARGV[2] then return { 'changed', text } end
for i = 2, #KEYS do
  write_pair(KEYS[i], ARGV[3], read_pair(KEYS[i], h.adoption) or { from = h.to, fence = 0 })
end
h.adoption, h.digest, h.parts = ARGV[3], ARGV[4], '-'
return { 'ok', write_header(KEYS[1], h) }
`;

/**
 * Applies everything that was committed in (from, to], or a part of it (SPEC I7). A batch with more fences than one
 * call should have is applied in parts: each raises its fences and deletes what they forbid, and only the last one, which
 * also names the pairs, moves `to`. Redis may lose the first parts in between without going back to before `from` (a
 * failover to a replica that had not heard of them), so each part leaves a name in the header that the next one must find.
 *
 * KEYS log, K, T, then P pair keys, then an entry key a key fence.
 * ARGV generation, adoption, epoch, from, to, visible, next offset, most fences, name of the part before ('-' for the first),
 *      name of this part ('-' for the last: moves `to`), P, number of key fences, then P namespace fences (0 for none), then
 *      (position, member) a key fence, then (position, member) a tag fence.
 * Returns {status, header, entries deleted, their chunks}: 'ok'; 'duplicate'; 'hole' (Redis is behind: read Kafka again from the
 * header's offset); 'changed' (other generation, adoption, epoch or parts: look at the header); 'missing' (no log: begin a
 * generation); 'damaged' (its fences were evicted: likewise).
 */
export const APPLY_SCRIPT = `${HEADER}${PAIR}${CHUNKS}
local text = redis.call('GET', KEYS[1])
local h = parse_header(text)
if not h then return { 'missing', text, 0 } end
if not intact(KEYS[2]) or not intact(KEYS[3]) then return { 'damaged', text, 0 } end
if h.generation ~= ARGV[1] or h.adoption ~= ARGV[2] or h.epoch ~= ARGV[3] then return { 'changed', text, 0 } end
local from, to, visible, part = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[10]
if from > h.to then return { 'hole', text, 0 } end
if to <= h.to then
  if part == '-' then
    h.visible = math.max(visible, h.visible)
    if tonumber(ARGV[7]) > tonumber(h.offset) then h.offset = ARGV[7] end
    text = write_header(KEYS[1], h)
  end
  return { 'duplicate', text, 0 }
end
if ARGV[9] ~= '-' and ARGV[9] ~= h.parts then return { 'changed', text, 0 } end
local most, pairs_, fences = tonumber(ARGV[8]), tonumber(ARGV[11]), tonumber(ARGV[12])
for i = 1, pairs_ do
  local key, fence = KEYS[3 + i], tonumber(ARGV[12 + i])
  local p = read_pair(key, h.adoption)
  if not p then
    -- Its state was evicted: what the log held for it before this batch is not known to be complete any more.
    write_pair(key, h.adoption, { from = h.to, fence = fence })
  elseif fence > p.fence then
    p.fence = fence
    write_pair(key, h.adoption, p)
  end
end
local at = 12 + pairs_
local function raise(key, first, last)
  -- unpack holds some thousands at most.
  for i = first, last, 1000 do redis.call('ZADD', key, 'GT', unpack(ARGV, i, math.min(i + 999, last))) end
end
raise(KEYS[2], at + 1, at + 2 * fences)
raise(KEYS[3], at + 2 * fences + 1, #ARGV)
local deleted, chunks = 0, {}
for i = 1, fences do
  local entry = KEYS[3 + pairs_ + i]
  local head = redis.call('GETRANGE', entry, 0, 71)
  if head ~= '' and (#head < 12 or as_of(head) < tonumber(ARGV[at + 2 * i - 1])) then
    chunks[#chunks + 1] = chunks_of(entry, head)
    deleted = deleted + redis.call('UNLINK', entry)
  end
end
${TRIM}h.from = trim(KEYS[2], h.from)
h.tagFrom = trim(KEYS[3], h.tagFrom)
h.parts = part
if part == '-' then h.to, h.visible, h.offset = to, math.max(visible, h.visible), ARGV[7] end
return { 'ok', write_header(KEYS[1], h), deleted, chunks }
`;

/**
 * Raises fences that the log should have had, wherever it stands, and deletes the entries that they forbid: what a replay
 * does beside a live applier (SPEC I7). All of it only takes away: fences and \`from\` grow, \`to\` and the offset stay, and
 * a namespace that is not applied stays so. A fence above \`to\` is no harm, its change is committed; one at or below
 * \`from\` need not be remembered, because nothing that old can be stored any more.
 *
 * KEYS log, K, T, then P pair keys, then an entry key a key fence.
 * ARGV generation, adoption, epoch, most fences, P, number of key fences, then P namespace fences, then (position, member) a
 *      key fence, then (position, member) a tag fence.
 * Returns {status, header, entries deleted, their chunks}: 'ok'; 'changed' (look at the header); 'missing' or 'damaged' (nothing of the
 * log can be reached, or soon will not).
 */
export const RAISE_SCRIPT = `${HEADER}${PAIR}${CHUNKS}
local text = redis.call('GET', KEYS[1])
local h = parse_header(text)
if not h then return { 'missing', text, 0 } end
if not intact(KEYS[2]) or not intact(KEYS[3]) then return { 'damaged', text, 0 } end
if h.generation ~= ARGV[1] or h.adoption ~= ARGV[2] or h.epoch ~= ARGV[3] then return { 'changed', text, 0 } end
local most, pairs_, fences = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
for i = 1, pairs_ do
  local key, fence = KEYS[3 + i], tonumber(ARGV[6 + i])
  local p = read_pair(key, h.adoption)
  if p and fence > p.fence then
    p.fence = fence
    write_pair(key, h.adoption, p)
  end
end
local at = 6 + pairs_
local function raise(key, from, first, last)
  for i = first, last, 2 do
    if tonumber(ARGV[i]) > from then redis.call('ZADD', key, 'GT', ARGV[i], ARGV[i + 1]) end
  end
end
raise(KEYS[2], h.from, at + 1, at + 2 * fences)
raise(KEYS[3], h.tagFrom, at + 2 * fences + 1, #ARGV)
local deleted, chunks = 0, {}
for i = 1, fences do
  local entry = KEYS[3 + pairs_ + i]
  local head = redis.call('GETRANGE', entry, 0, 71)
  if head ~= '' and (#head < 12 or as_of(head) < tonumber(ARGV[at + 2 * i - 1])) then
    chunks[#chunks + 1] = chunks_of(entry, head)
    deleted = deleted + redis.call('UNLINK', entry)
  end
end
${TRIM}h.from = trim(KEYS[2], h.from)
h.tagFrom = trim(KEYS[3], h.tagFrom)
return { 'ok', write_header(KEYS[1], h), deleted, chunks }
`;

/**
 * Stores an entry if no fence forbids it (SPEC I7).
 *
 * KEYS log, K, T, pair, entry. ARGV generation, epoch, asOf, TTL in ms, fence member, envelope, then tag members.
 * Returns 'ok', or {'ok', chunks of what was there}, or why not: 'missing', 'changed', 'unknown' (the namespace is not applied), 'old' (before the log),
 * 'fenced', 'newer' (a newer entry is there).
 */
export const FILL_SCRIPT = `${HEADER}${PAIR}${CHUNKS}
local h = read_header(KEYS[1])
if not h or not intact(KEYS[2]) or not intact(KEYS[3]) then return 'missing' end
if h.generation ~= ARGV[1] or h.epoch ~= ARGV[2] then return 'changed' end
local p = read_pair(KEYS[4], h.adoption)
if not p then return 'unknown' end
local asof = tonumber(ARGV[3])
local tagged = #ARGV > 6
if asof < h.from or asof < p.from or (tagged and asof < h.tagFrom) then return 'old' end
if p.fence > asof then return 'fenced' end
local fence = redis.call('ZSCORE', KEYS[2], ARGV[5])
if fence and tonumber(fence) > asof then return 'fenced' end
for i = 7, #ARGV do
  local tag = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if tag and tonumber(tag) > asof then return 'fenced' end
end
local head = redis.call('GETRANGE', KEYS[5], 0, 71)
if #head >= 12 and as_of(head) > asof then return 'newer' end
local chunks = chunks_of(KEYS[5], head)
redis.call('SET', KEYS[5], ARGV[6], 'PX', ARGV[4])
return chunks and { 'ok', chunks } or 'ok'
`;

/**
 * Stores an entry of a namespace that opted out of coherence, whatever is there. KEYS entry. ARGV TTL in ms, envelope. Returns
 * the chunks of what was there.
 */
export const PUT_SCRIPT = `${CHUNKS}
local chunks = chunks_of(KEYS[1], redis.call('GETRANGE', KEYS[1], 0, 71))
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
return chunks
`;

/** Removes such an entry. KEYS entry. Returns its chunks. */
export const DROP_SCRIPT = `${CHUNKS}
local chunks = chunks_of(KEYS[1], redis.call('GETRANGE', KEYS[1], 0, 71))
redis.call('UNLINK', KEYS[1])
return chunks
`;

/**
 * Reads tagged entries together with the fences of their tags. Untagged ones need only an MGET.
 *
 * KEYS log, T, then P pair keys, then entries. ARGV P, then the prefix of its tag members (`<rules hash>:`) an entry.
 * Returns {log, pairs, entries}, each nil where missing; an entry is nil also when a fence on one of its tags is newer, or
 * when the log no longer knows.
 */
export const GET_TAGGED_SCRIPT = `${HEADER}
local log = redis.call('GET', KEYS[1])
local h, pairs_ = parse_header(log), tonumber(ARGV[1])
local known = h and intact(KEYS[2])
local function unfenced(entry, prefix)
  if not known or not entry or #entry < 72 then return false end
  local asof = as_of(entry)
  if asof < h.tagFrom then return false end
  local content, etag, tags = struct.unpack('>HHH', entry, 41)
  local at = 73 + content + etag
  for i = 1, tags do
    local tag
    tag, at = struct.unpack('>Hc0', entry, at)
    local fence = redis.call('ZSCORE', KEYS[2], prefix .. tag)
    if fence and tonumber(fence) > asof then return false end
  end
  return entry
end
local found = { log }
for i = 1, pairs_ do found[1 + i] = redis.call('GET', KEYS[2 + i]) end
for i = 3 + pairs_, #KEYS do
  -- An entry whose lengths are damaged is one that is missing, and no harm to the others.
  local ok, entry = pcall(unfenced, redis.call('GET', KEYS[i]), ARGV[i - 1 - pairs_])
  found[i - 1] = ok and entry
end
return found
`;

/**
 * Gives a claim back, unless it is another's by now. KEYS claim. ARGV token. Returns how many went.
 */
export const RELEASE_SCRIPT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`;

/**
 * Raises an entry's `asOf` to a position up to which the log has checked it (SPEC I12), without its value being sent: only if
 * the very entry is still there, as its bytes before the body say (they hold an entity tag, a checksum and both times). Its TTL
 * goes on. Fences on keys delete, so that it is there is enough.
 *
 * KEYS log, T, pair, entry. ARGV generation, epoch, new asOf, the entry's bytes before its body, what its first bytes are to be,
 * then tag members.
 * Returns 'ok', or why not: 'missing', 'changed' (another log, one that has not come so far, or another entry), 'newer' (the
 * entry is ahead of the log: to take it back would hide fences that it is above), 'unknown', 'old', 'fenced'.
 */
export const PROMOTE_SCRIPT = `${HEADER}${PAIR}
local h = read_header(KEYS[1])
if not h or not intact(KEYS[2]) then return 'missing' end
if h.generation ~= ARGV[1] or h.epoch ~= ARGV[2] or tonumber(ARGV[3]) > h.to then return 'changed' end
local seen = ARGV[4]
if redis.call('GETRANGE', KEYS[4], 0, #seen - 1) ~= seen then return 'changed' end
local asof, p = as_of(seen), read_pair(KEYS[3], h.adoption)
if tonumber(ARGV[3]) <= asof then return 'newer' end
if not p then return 'unknown' end
if asof < p.from or (#ARGV > 5 and asof < h.tagFrom) then return 'old' end
if p.fence > asof then return 'fenced' end
for i = 6, #ARGV do
  local tag = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if tag and tonumber(tag) > asof then return 'fenced' end
end
redis.call('SETRANGE', KEYS[4], 0, ARGV[5])
return 'ok'
`;
