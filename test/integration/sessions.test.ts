import { parseLsn } from '@tidemark/proto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Answer, App } from './support/app.ts';
import type { SidecarHandle } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { Feed } from './support/feed.ts';
import { LaggingSidecar } from './support/lagging.ts';
import { PATIENT } from './support/patient.ts';
import { useStack } from './support/stack.ts';
import { metric } from './support/write.ts';

// Sessions over two sidecars, of which one hears of changes only when the test lets it.

const used = useStack({
  initSql: `create table items (id int primary key, name text not null); insert into items select n, 'v0' from generate_series(1, 50) n`,
  config: {
    namespaces: {
      items: { source: 'main', l2: { enabled: false }, invalidate: [{ table: 'public.items', keys: ['{id}'] }] },
    },
  },
  // How long a machine takes for anything decides nothing here.
  env: { sidecar: { ...PATIENT, TIDEMARK_SESSION_TIMEOUT: '30s' } },
});
const onlyIfCached = { 'cache-control': 'only-if-cached' };

let lagging: LaggingSidecar;
/** Lags as well, and waits for as long as it takes. */
let patient: SidecarHandle;
beforeAll(async () => {
  lagging = await LaggingSidecar.start(used.stack, { TIDEMARK_SESSION_TIMEOUT: '500ms' });
  patient = await lagging.another();
});
afterAll(() => lagging?.stop());

const nameOf = async (id: string): Promise<string> =>
  (await used.stack.sql<{ name: string }>('select name from items where id = $1', [id]))[0]?.name ?? 'none';

/** Stores what the database says in a sidecar. */
async function cache(app: App, id: string): Promise<void> {
  await eventually(async () => {
    const { lease } = await app.get('items', id, { 'cache-control': 'no-cache' });
    await app.put('items', id, await nameOf(id), { lease });
    expect((await app.get('items', id, onlyIfCached)).status).toBe(200);
  });
}

/** Changes a row while one sidecar hears nothing; answers the writer's own position. */
async function change(id: string): Promise<{ lsn: string; letFlow: () => void }> {
  await cache(lagging.app, id);
  const letFlow = lagging.holdBack();
  await used.stack.sql("update items set name = 'v1' where id = $1", [id]);
  const [row] = await used.stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  // Without a session the old value is as good as any to a sidecar that has not heard of the change.
  expect((await lagging.app.get('items', id, onlyIfCached)).body).toBe('v0');
  return { lsn: row?.lsn ?? '', letFlow };
}

function expectBehind(answer: Answer): void {
  expect(answer).toMatchObject({ status: 404, lease: undefined, cacheStatus: 'tidemark; fwd=bypass; detail=behind' });
}

describe('[I14] what a session has seen is not unseen through a sidecar that lags', () => {
  it.each([
    ['a value that another sidecar served', '1', false],
    ['what it has loaded itself', '2', true],
  ])('%s', async (_what, id, loads) => {
    const [fast] = used.apps as [App];
    const { lsn, letFlow } = await change(id);
    try {
      let { session = '' } = await fast.get('items', 'nothing', { ...onlyIfCached, 'tidemark-session': 'new' });
      if (!loads) {
        // What it stores before it has heard of the change would be evicted again.
        const heard = { ...onlyIfCached, 'tidemark-min-lsn': lsn };
        await eventually(async () => expect((await fast.get('items', id, heard)).cacheStatus).not.toContain('bypass'));
        await cache(fast, id);
      }
      const read = await eventually(async () => {
        const answer = await fast.get('items', id, { 'tidemark-session': session });
        expect(answer.lease ?? answer.body).not.toBe('');
        return answer;
      });
      expect([read.body, read.session]).toEqual([loads ? '' : 'v1', expect.stringMatching(/^1~main~/)]);
      session = read.session ?? '';
      if (loads) expect(await nameOf(id)).toBe('v1');
      expectBehind(await lagging.app.get('items', id, { 'tidemark-session': session }));
      letFlow();
      const fresh = await eventually(async () => {
        const answer = await lagging.app.get('items', id, { 'tidemark-session': session });
        expect(answer.cacheStatus).not.toContain('bypass');
        return answer;
      });
      expect([fresh.status, fresh.lease]).toEqual([404, expect.any(String)]);
    } finally {
      letFlow();
    }
  });

  it('what it has purged', async () => {
    const [fast] = used.apps as [App];
    await cache(lagging.app, '3');
    const letFlow = lagging.holdBack();
    try {
      const purged = await eventually(async () => {
        const answer = await fast.delete('items', '3', { 'tidemark-session': 'new' });
        expect(answer.status).toBe(204);
        return answer;
      });
      expect((await lagging.app.get('items', '3', onlyIfCached)).status).toBe(200);
      expectBehind(await lagging.app.get('items', '3', { 'tidemark-session': purged.session ?? '' }));
    } finally {
      letFlow();
    }
  });
});

it('[I14] a writer finds what it has written, also through a sidecar that lags', async () => {
  const { lsn, letFlow } = await change('4');
  try {
    expectBehind(await lagging.app.get('items', '4', { 'tidemark-min-lsn': lsn }));
    const waiting = new App(patient.url).get('items', '4', { 'tidemark-min-lsn': lsn });
    await eventually(async () => expect(await metric(patient.admin, 'tidemark_session_waits_total')).toBe(1));
    letFlow();
    expect(await waiting).toMatchObject({ status: 404, lease: expect.any(String) as string });
  } finally {
    letFlow();
  }
});

it(
  '[I14] write after write, read through whichever sidecar: nobody ever gets an older row',
  { timeout: 300_000 },
  async () => {
    const apps = [...used.apps, new App(patient.url)];
    let hits = 0;
    const user = async (id: string): Promise<void> => {
      let session = 'new';
      let seen = 0;
      for (let i = 1; i <= 60; i++) {
        let min: Record<string, string> = {};
        if (i % 6 === 1) {
          await used.stack.sql("update items set name = 'v' || $2::int where id = $1", [id, i]);
          const [row] = await used.stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
          min = { 'tidemark-min-lsn': row?.lsn ?? '' };
          seen = i;
        }
        const app = apps[i % apps.length] as App;
        const found = await app.get('items', id, { 'tidemark-session': session, ...min });
        session = found.session ?? '';
        const body = found.status === 200 ? found.body : await nameOf(id);
        if (found.status === 200) hits += 1;
        expect(Number(body.slice(1))).toBeGreaterThanOrEqual(seen);
        seen = Number(body.slice(1));
        if (found.lease !== undefined) {
          const put = await app.put('items', id, body, {
            lease: found.lease,
            headers: { 'tidemark-session': session },
          });
          session = put.session ?? '';
        }
      }
    };
    await Promise.all(Array.from({ length: 10 }, (_, i) => user(String(i + 10))));
    expect(hits).toBeGreaterThan(100);
  },
);

describe('GET /v1/position', () => {
  it('answers a position at or after every commit, which the stream passes at once', async () => {
    const feed = await Feed.open(used.stack);
    onTestFinished(() => feed.stop());
    const passes = async (): Promise<number> => {
      const [row] = await used.stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
      const response = await fetch(`${used.stack.invalidator.url}/v1/position`);
      const { source, epoch, lsn } = (await response.json()) as { source: string; epoch: number; lsn: string };
      expect([response.status, source]).toEqual([200, 'main']);
      expect(parseLsn(lsn)).toBeGreaterThanOrEqual(parseLsn(row?.lsn ?? ''));
      const answeredAt = performance.now();
      await feed.reaches(lsn);
      expect(feed.batches.at(-1)?.epoch).toBe(epoch);
      return performance.now() - answeredAt;
    };
    await passes();
    // Had it to wait for the heartbeat of each second, it would wait all of it, each time but the first.
    await eventually(async () => expect(await passes()).toBeLessThan(500));
  });

  it('knows its methods', async () => {
    expect((await fetch(`${used.stack.invalidator.url}/v1/position`, { method: 'POST' })).status).toBe(405);
  });
});
