import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startPostgresPair, startStack, type PostgresPair, type Stack } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';
import { judgePendingWriters, loggedItems, PendingWriter, storedNumber } from './support/pending-writers.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { write } from './support/write.ts';

// A standby is promoted that lacks the newest transactions of the flusher: they are lost with the old primary, and how far was flushed too.

const KEYS = 6;

let pair: PostgresPair;
let stack: Stack;

beforeAll(async () => {
  pair = await startPostgresPair({ fsync: false });
  stack = await startStack({
    sidecars: 2,
    servers: { started: { postgres: pair } },
    env: { sidecar: { TIDEMARK_MAX_STALENESS: '3s' } },
    ...loggedItems,
  });
});

afterAll(() => stack?.stop());

beforeEach(async () => {
  showLogsOnFailure(stack);
  if (pair.standby === undefined) await pair.addStandby();
  await withPostgres(pair.primary.url, async (client) => {
    await client.query("alter system set synchronized_standby_slots = 'kit_standby'");
    await client.query('select pg_reload_conf()');
  });
  await pair.slotSynced(stack.slot);
  await cacheable(stack);
});

/** How far was flushed, as a server says that may be a standby. */
async function progressOf(url: string): Promise<number> {
  const own = new URL(url);
  own.pathname = new URL(stack.postgres).pathname;
  return withPostgres(own.href, async (client) => {
    const { rows } = await client.query<{ next: string }>(
      'select next_offset::text as next from tidemark.flush_progress',
    );
    return Number(rows[0]?.next ?? 0);
  });
}

it.each(['lacks the newest flushes', 'has them all'] as const)(
  '[I10] [I19] loses no write, repeats none and reorders none when a standby is promoted that %s',
  { timeout: 400_000 },
  async (standby) => {
    const writers = Array.from({ length: KEYS }, (_, i) => {
      const key = `${standby}-${i}`;
      return new PendingWriter({ stack, namespace: 'items', key, stored: () => storedNumber(stack, key) });
    });
    const acknowledged = () => writers.reduce((sum, { acknowledgements }) => sum + acknowledgements, 0);
    const more = (count: number) => {
      const least = acknowledged() + count;
      return eventually(() => expect(acknowledged()).toBeGreaterThan(least), { withinMs: 120_000, everyMs: 50 });
    };
    const standbyUrl = pair.standby?.url ?? '';
    await more(200);
    let lost = 0;
    await pair.caughtUp();
    if (standby === 'lacks the newest flushes') {
      pair.cutReplication();
      const [{ url } = { url: '' }] = stack.sidecars;
      expect((await write(url, ['items', 'poison'], 'no number')).status).toBe(202);
      await more(200);
      // Both what was written and what was parked is in the old primary only.
      await eventually(async () => expect(await stack.sql('select key from tidemark.parked_writes')).toHaveLength(1));
      await eventually(
        async () => {
          lost = (await progressOf(pair.primary.url)) - (await progressOf(standbyUrl));
          expect(lost).toBeGreaterThan(100);
        },
        { withinMs: 60_000 },
      );
    }
    await pair.promote();
    await more(300);
    await judgePendingWriters(stack, writers);
    expect(await stack.sql('select key, code from tidemark.parked_writes')).toEqual([{ key: 'poison', code: '22P02' }]);
    process.stdout.write(`a standby that ${standby}: ${acknowledged()} acknowledged, ${lost} flushed again\n`);
  },
);
