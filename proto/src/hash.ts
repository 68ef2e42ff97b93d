const FNV32_PRIME = 0x01000193;

/**
 * 32-bit hash of a text under a seed: FNV-1a over the seed and the UTF-16 units, then the finalizer of MurmurHash3, so
 * that every bit of the result may index a table. Not for adversaries: a collision costs a needless miss, never a stale
 * value.
 */
export function hash32(seed: number, text: string): number {
  // The seed is a unit of its own: merely xored into the basis, seed 1 with "2" would be seed 0 with "3".
  let h = Math.imul(0x811c9dc5 ^ seed, FNV32_PRIME);
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), FNV32_PRIME);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const FNV64_PRIME = 0x100000001b3n;

/** FNV-1a, 64 bits, over the UTF-8 form of a text. For identities that are computed once, such as a rules hash. */
export function hash64(text: string): bigint {
  let h = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) h = BigInt.asUintN(64, (h ^ BigInt(byte)) * FNV64_PRIME);
  return h;
}
