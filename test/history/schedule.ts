import type { FaultKind } from './faults/fault.ts';
import { below, pick, type Random, shuffled } from './random.ts';

/** A fault to come. */
export interface Planned {
  readonly kind: FaultKind;
  readonly target: string;
}

/** Faults that come together, and how long they last. */
export interface Step {
  readonly faults: readonly Planned[];
  readonly lastsMs: number;
}

export interface ScheduleOptions {
  readonly kinds: readonly FaultKind[];
  readonly random: Random;
  /** Of the steps, so many have a second fault where one fits, from 0 to 1. */
  readonly together?: number;
  /** How long faults last, as a factor. */
  readonly scale?: number;
}

/**
 * What a nemesis does: round after round every kind once, in an order, with targets and with durations that depend on
 * nothing but `random`.
 */
export function* schedule(options: ScheduleOptions): Generator<Step, never> {
  for (;;) yield* round(options);
}

/** Every kind once. */
export function* round({ kinds, random, together = 0.4, scale = 1 }: ScheduleOptions): Generator<Step, void> {
  const left = shuffled(random, kinds).map((kind) => ({ kind, target: pick(random, some(kind.targets)) }));
  for (let first = left.shift(); first !== undefined; first = left.shift()) {
    const one = first;
    const faults = [one];
    if (random() < together) {
      const second = left.findIndex((other) => areApart(one, other));
      if (second >= 0) faults.push(...left.splice(second, 1));
    }
    const longest = faults.map(({ kind: { lastsMs } }) => lastsMs[0] + below(random, lastsMs[1] - lastsMs[0] + 1));
    yield { faults, lastsMs: Math.round(scale * Math.max(...longest)) };
  }
}

/** Whether two faults can come together: neither breaks what the other one breaks or needs. */
export function areApart(one: Planned, other: Planned): boolean {
  const breaks = ({ kind, target }: Planned): readonly string[] => kind.breaks(target);
  const touches = ({ kind, target }: Planned): readonly string[] => [
    ...kind.breaks(target),
    ...(kind.needs?.(target) ?? []),
  ];
  const meets = (these: readonly string[], those: readonly string[]): boolean =>
    these.some((part) => those.includes(part));
  return !meets(breaks(one), touches(other)) && !meets(touches(one), breaks(other));
}

export function describeStep({ faults, lastsMs }: Step): string {
  const what = faults.map(({ kind, target }) => kind.says.replace('{target}', target)).join(', and ');
  return lastsMs === 0 ? what : `${what}, for ${(lastsMs / 1000).toFixed(1)} s`;
}

function some<T>(items: readonly T[]): readonly [T, ...T[]] {
  const [first, ...rest] = items;
  if (first === undefined) throw new Error('a fault without a target');
  return [first, ...rest];
}
