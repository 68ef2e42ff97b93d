/**
 * The keys of a namespace that sidecars read most, for those that start: a sorted set that each of them adds to now and then. It says
 * nothing about values, so whatever becomes of it is no harm.
 *
 * KEYS: list, mark of the last decay. ARGV: most members, time between decays (ms), factor of a decay, time to live of both (ms),
 * then key, weight, key, weight, …
 */
export const HOT_SCRIPT = `
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then
  redis.call('ZUNIONSTORE', KEYS[1], 1, KEYS[1], 'WEIGHTS', ARGV[3])
end
for i = 5, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i + 1], ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return redis.call('ZCARD', KEYS[1])
`;
