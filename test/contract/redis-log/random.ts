/** Choices that a seed decides. */
export interface Random {
  /** A whole number from 0 on, below the limit. */
  readonly below: (limit: number) => number;
  readonly pick: <T>(choices: readonly T[]) => T;
  /** One of the things, each as often as its weight says. */
  readonly weighted: <T>(choices: readonly (readonly [weight: number, thing: T])[]) => T;
}

/** mulberry32. */
export function randomFrom(seed: number): Random {
  let a = seed;
  const below = (limit: number): number => {
    a = Math.trunc(a + 0x6d2b79f5);
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
  return {
    below,
    pick: <T>(choices: readonly T[]) => choices[below(choices.length)] as T,
    weighted: <T>(choices: readonly (readonly [number, T])[]) => {
      let at = below(choices.reduce((sum, [weight]) => sum + weight, 0));
      const chosen = choices.find(([weight]) => (at -= weight) < 0);
      return (chosen as readonly [number, T])[1];
    },
  };
}
