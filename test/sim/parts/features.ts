import { USUAL, type Accepts } from '../../../sidecar/src/core/freshness.ts';
import type { Loaded } from '../../../sidecar/src/core/ports.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { bodyOf, type KeySpec } from './keys.ts';
import type { Server } from './postgres.ts';
import type { SimClock } from './time.ts';

/** Some callers take old values, some want young ones. */
export function anyWish(dice: Dice): Accepts {
  if (dice.chance(0.6)) return USUAL;
  const maxStaleMs = dice.chance(0.7) ? dice.below(30_000) : 0;
  return { ...USUAL, maxStaleMs, grace: dice.chance(0.8), ...(dice.chance(0.2) && { maxAgeMs: dice.below(5_000) }) };
}

/** A sidecar reads the database itself: the primary, or a standby that says first how far it is; or fails. */
export async function loadedBy(
  clock: SimClock,
  { spec, primary, dice }: { spec: KeySpec; primary: () => Server; dice: Dice },
): Promise<Loaded> {
  const { rows } = spec;
  const [beforeMs, afterMs] = [dice.below(100), dice.below(400)];
  const [isStandby, fails] = [dice.chance(0.2), dice.chance(0.1)];
  const sourceLsn = isStandby ? primary().replayed : undefined;
  await clock.sleep(beforeMs);
  const server = primary();
  const versions = isStandby ? server.readStandby(rows) : server.read(rows);
  const body = bodyOf({ readAt: server.ids.last, versions });
  await clock.sleep(afterMs);
  if (fails) return { kind: 'failed', why: 'error', detail: '' };
  return { kind: 'value', body, contentType: '', tags: [], sourceLsn };
}
