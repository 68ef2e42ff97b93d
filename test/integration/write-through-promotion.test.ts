import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startPostgresPair, startStack, type PostgresPair, type SidecarHandle, type Stack } from '../kit/index.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { write, type WriteAnswer } from './support/write.ts';

// Writes before, while and after a standby takes the place of the primary, which lives on.

let pair: PostgresPair;
let stack: Stack;
/** One writes where the primary is, the other to the server that is the primary at first. */
let byAddress: SidecarHandle;
let toFirst: SidecarHandle;

const databaseAt = (url: string): string => {
  const at = new URL(url);
  at.pathname = new URL(stack.postgres).pathname;
  return at.href;
};
const put = (sidecar: SidecarHandle, key: string, body: string): Promise<WriteAnswer> =>
  write(sidecar.url, ['items', key], body);
const bodyIn = async (sidecar: SidecarHandle, key: string): Promise<string | undefined> => {
  const { status, body } = await new App(sidecar.url).get('items', key, { 'cache-control': 'only-if-cached' });
  return status === 200 ? body : undefined;
};

beforeAll(async () => {
  pair = await startPostgresPair({ fsync: false });
  stack = await startStack({
    sidecars: 0,
    servers: { started: { postgres: pair } },
    env: { sidecar: { TIDEMARK_MAX_STALENESS: '30s' } },
    initSql: 'create table items (id text primary key, body text not null)',
    config: {
      namespaces: {
        items: {
          source: 'main',
          invalidate: [{ table: 'public.items', keys: ['{id}'] }],
          writeThrough: {
            put: { sql: 'insert into items values ($1, $2) on conflict (id) do update set body = excluded.body' },
            timeout: '10s',
          },
        },
      },
    },
  });
  byAddress = await stack.addSidecar({ TIDEMARK_WRITE_URL: stack.postgres });
  toFirst = await stack.addSidecar({ TIDEMARK_WRITE_URL: databaseAt(pair.primary.url) });
  await cacheable(stack);
});
afterAll(() => stack?.stop());
beforeEach(() => showLogsOnFailure(stack));

it(
  '[I10] [I18] what was written before a promotion does not hide what is written behind it',
  { timeout: 240_000 },
  async () => {
    for (const sidecar of [byAddress, toFirst])
      expect(await put(sidecar, 'a', 'before')).toMatchObject({ status: expect.any(Number), lsn: expect.any(String) });
    await pair.caughtUp();
    await pair.slotSynced(stack.slot);
    await pair.promote({ oldPrimary: 'leave' });
    // The stream may not have heard yet: the write counts, and nothing older is served by whom it went through.
    const after = await eventually(
      async () => {
        const answer = await put(byAddress, 'a', 'after');
        expect(answer.status).toBe(204);
        return answer;
      },
      { withinMs: 60_000 },
    );
    for (let i = 0; i < 20; i++) expect([undefined, 'after']).toContain(await bodyIn(byAddress, 'a'));
    expect(await stack.sql("select body from items where id = 'a'")).toEqual([{ body: 'after' }]);
    // The next one, in the new epoch, is served again at once.
    await eventually(
      async () => {
        expect(await put(byAddress, 'a', 'later')).toMatchObject({ status: 204, lsn: expect.any(String) });
        expect(await bodyIn(byAddress, 'a')).toBe('later');
      },
      { withinMs: 60_000 },
    );
    expect(after.problem).toBe('');
  },
);

it('[I18] a primary that was replaced takes no writes from who knows of it', async () => {
  await eventually(
    async () =>
      expect(await put(toFirst, 'b', 'lost')).toMatchObject({
        status: 503,
        problem: 'unavailable',
        detail: expect.stringContaining('on timeline 1, but the stream comes from timeline 2'),
      }),
    { withinMs: 60_000 },
  );
  expect(await bodyIn(toFirst, 'b')).toBeUndefined();
});
