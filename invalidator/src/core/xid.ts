const EPOCH = 2n ** 32n;

/**
 * Widens a 32-bit transaction id of the stream to the 64 bits that never wrap. Of all ids with these low bits it is the
 * one nearest to a recent id of the same server: ids that are in use at the same time lie less than 2^31 apart.
 */
export function widenXid(xid: number, recent: bigint): bigint {
  const low = BigInt(xid >>> 0);
  const candidate = recent - (recent % EPOCH) + low;
  if (candidate - recent > EPOCH / 2n && candidate >= EPOCH) return candidate - EPOCH;
  if (recent - candidate > EPOCH / 2n) return candidate + EPOCH;
  return candidate;
}
